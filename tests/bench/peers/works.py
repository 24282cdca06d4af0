"""The pieces of work, and who takes part in each."""
import csv
import dataclasses

import numpy as np
import safetensors.numpy


@dataclasses.dataclass
class Work:
    name: str           # the row of the table
    network: str        # checkpoints.MAKERS, or minilm
    request: dict       # of the protocol, without file names
    contenders: list    # (peer, dtype); zoo float32 first: what it gives is the reference of the agreement
    inputs: dict = None
    texts: list = None
    scores: np.ndarray = None  # of the pairs of texts, first ones before second ones: what people gave them
    heavy: bool = False  # left out by --quick

    def write_inputs(self, folder):
        request = dict(self.request)
        stem = folder / self.name.replace(" ", "_").replace("/", "-")
        if self.texts:
            stem.with_suffix(".txt").write_text("\n".join(self.texts) + "\n", encoding="utf-8")
            request["texts"] = str(stem.with_suffix(".txt"))
        else:
            safetensors.numpy.save_file(self.inputs, str(stem.with_suffix(".safetensors")))
            request["inputs"] = str(stem.with_suffix(".safetensors"))
        return request


def pairs(*names):
    """"zoo:int8" -> ("zoo", "int8"); float32 is not written."""
    return [(n.partition(":")[0], n.partition(":")[2] or "float32") for n in names]


ENCODERS = pairs("zoo", "transformers", "onnxruntime", "openvino", "ctranslate2", "zoo:bfloat16", "openvino:bfloat16", "zoo:int8", "onnxruntime:int8", "ctranslate2:int8")
PICTURES = pairs("zoo", "transformers", "onnxruntime", "openvino", "zoo:bfloat16", "openvino:bfloat16", "zoo:int8", "onnxruntime:int8")
WRITERS = pairs("zoo", "transformers", "ctranslate2", "zoo:bfloat16", "zoo:int8", "ctranslate2:int8", "zoo:int4-weights")


def sts_b(path):
    """All first and then all second sentences, and the pairs' scores."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    return [r[0] for r in rows] + [r[1] for r in rows], np.array([float(r[2]) for r in rows])


def all_works(sts_path):
    random = np.random.default_rng(0)
    works = []
    for batch, length in ((1, 16), (1, 128), (8, 128), (32, 128)):
        tokens = random.integers(1000, 30000, (batch, length), dtype=np.int64)
        works.append(Work(f"BERT-base {batch} x {length}", "bert", {}, ENCODERS, {"tokens": tokens}, heavy=batch > 8))
    if sts_path:
        sentences, scores = sts_b(sts_path)
        works.append(Work("BERT-base, 256 STS-B sentences", "bert", {}, pairs("zoo", "transformers", "onnxruntime", "zoo:int8", "onnxruntime:int8"), texts=sentences[:256], heavy=True))
        works.append(Work("MiniLM, STS-B test (2758 sentences)", "minilm", {}, pairs("zoo", "transformers", "onnxruntime", "openvino", "zoo:bfloat16", "zoo:int8", "onnxruntime:int8"), texts=sentences, scores=scores))
    for title, network in (("ViT-B/16", "vit"), ("ResNet-50", "resnet"), ("Swin-T", "swin")):
        for batch in (1, 8):
            image = random.standard_normal((batch, 3, 224, 224), dtype=np.float32)
            works.append(Work(f"{title} batch {batch}", network, {}, PICTURES, {"image": image}, heavy=batch > 1))
    for name, vocabulary in (("t5", 32000), ("bart", 50000)):
        for batch in (1, 8):
            tokens = random.integers(10, vocabulary, (batch, 128), dtype=np.int64)
            for beams in (1, 4):
                request = {"generate": {"max_new_tokens": 64, "min_new_tokens": 64, "num_beams": beams}}
                title = f"{name.upper()}-base 128 -> 64, batch {batch}, {'greedy' if beams == 1 else 'beam 4'}"
                works.append(Work(title, name, request, WRITERS, {"tokens": tokens}, heavy=batch > 1 or beams > 1))
    tokens = random.integers(10, 50000, (1, 128), dtype=np.int64)
    works.append(Work("GPT-2 128 -> 64, batch 1, greedy", "gpt2", {"generate": {"max_new_tokens": 64, "min_new_tokens": 64, "num_beams": 1}}, WRITERS, {"tokens": tokens}))
    series = random.standard_normal((32, 96, 7), dtype=np.float32)
    works.append(Work("iTransformer (ETTh1, 96 hours), batch 32", "itransformer", {}, pairs("zoo", "pytorch"), {"series": series}))
    works.append(Work("iTransformer (ETTh1, 96 hours), batch 32, training step", "itransformer", {"train": True}, pairs("zoo", "pytorch"), {"series": series}))
    tokens = random.integers(1000, 30000, (8, 128), dtype=np.int64)
    works.append(Work("BERT-base 8 x 128, training step", "bert", {"train": True}, pairs("zoo", "transformers"), {"tokens": tokens}, heavy=True))
    return works
