"""Does transformers load an image classifier that `zoo train` wrote, and give the same probabilities?

    zoo train --model vit:tiny --task image_classification --data PICTURES --epochs 1 --out FOLDER      # or resnet:tiny, swin:tiny
    python tests/reference/check_saved_images.py ZOO FOLDER PICTURE...        # needs pillow besides requirements.txt

Prints the largest difference of a probability and exits with 1 above 1e-4. Pillow 13 resizes by another order than zoo where a picture's
sides differ: take square pictures, or Pillow 11.
"""
import json
import subprocess
import sys

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageClassification

TOLERANCE = 1e-4


def resized(image, settings):
    size = settings["size"]
    if "shortest_edge" not in size:
        return image.resize((size["width"], size["height"]), resample=settings["resample"])
    short = min(image.size)
    return image.resize([size["shortest_edge"] * side // short for side in image.size], resample=settings["resample"])


def prepared(path, folder):
    """preprocessor_config.json carried out with Pillow and NumPy (transformers' own processor wants torchvision)."""
    settings = json.load(open(f"{folder}/preprocessor_config.json"))
    image = resized(Image.open(path).convert("RGB"), settings)
    if settings.get("do_center_crop"):
        crop = settings["crop_size"]
        left, top = (image.width - crop["width"]) // 2, (image.height - crop["height"]) // 2
        image = image.crop((left, top, left + crop["width"], top + crop["height"]))
    pixels = np.asarray(image).astype(np.float32) * settings["rescale_factor"]
    pixels = (pixels - np.array(settings["image_mean"])) / np.array(settings["image_std"])
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]


def main():
    zoo, folder, *pictures = sys.argv[1:]
    model, report = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    problems = {key: sorted(map(str, value)) for key, value in report.items() if value}
    assert not problems, f"{folder}: transformers reports {problems}"
    model.eval()
    command = [zoo, "run", folder, *pictures, "--json", "--top-k", str(model.config.num_labels)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["predictions"]
    worst = 0.0
    for path, prediction in zip(pictures, told, strict=True):
        with torch.no_grad():
            expected = model(prepared(path, folder)).logits[0].softmax(-1).tolist()
        found = {entry["label"]: entry["probability"] for entry in prediction["top"]}
        worst = max(worst, *(abs(found[model.config.id2label[i]] - p) for i, p in enumerate(expected)))
    print(f"{len(pictures)} pictures, {model.config.num_labels} classes, largest difference {worst:.2e}")
    sys.exit(worst > TOLERANCE)


main()
