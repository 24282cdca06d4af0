"""Writes tests/unit/pillow_resize.json: small pictures resized by Pillow, for the test of data/transforms.cpp.

    python tests/reference/resize.py        # needs pillow==11.3.0 and numpy

Pillow 13 resizes the axis first that leaves less to do; earlier versions the width first, as done here. The results differ by
rounding (3 levels at most in these cases).
"""
import json
import pathlib

import numpy as np
import PIL
from PIL import Image

CASES = [  # height, width, channels, new height, new width
    (9, 13, 3, 4, 5),
    (9, 13, 3, 20, 17),
    (28, 28, 1, 32, 32),
    (28, 28, 1, 12, 30),
    (5, 40, 3, 5, 7),
    (31, 6, 1, 8, 6),
]


def picture(height, width, channels):
    """The test makes the same picture: sharp edges, so that bicubic overshoots."""
    y, x, c = np.meshgrid(range(height), range(width), range(channels), indexing="ij")
    values = (x * 37 + y * 91 + c * 53 + x * y * 7) % 256
    return np.where((x // 3 + y // 2) % 3 == 0, 255 - values // 8, values).astype(np.uint8)


def main():
    cases = []
    for height, width, channels, new_height, new_width in CASES:
        for filter_number in (2, 3):  # bilinear, bicubic
            pixels = picture(height, width, channels)
            image = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
            resized = np.asarray(image.resize((new_width, new_height), resample=filter_number))
            cases.append({"from": [height, width, channels], "to": [new_height, new_width], "resample": filter_number,
                          "pixels": resized.reshape(-1).tolist()})
    path = pathlib.Path(__file__).parent.parent / "unit" / "pillow_resize.json"
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    path.write_text(f'{{"pillow": "{PIL.__version__}", "cases": [\n{text}\n]}}\n')


main()
