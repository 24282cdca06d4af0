"""One peer with one network, in a process of its own: answers the requests of `zoo bench --serve` (app/commands/bench_parts.h).

    python contender.py PEER FOLDER --dtype float32 --threads 2
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import numpy as np


def positions_by_length(lengths, rows=64, tokens=2048):
    """zoo's batches: texts of one length together, longest first."""
    batches = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        full = not batches or len(batches[-1]) >= rows or (len(batches[-1]) + 1) * lengths[index] > tokens
        if full or lengths[batches[-1][0]] != lengths[index]:
            batches.append([])
        batches[-1].append(index)
    return batches


def pooled(hidden, mask):
    vectors = (hidden * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Peer:
    trains = False

    def __init__(self, folder, args):
        self.folder, self.args = pathlib.Path(folder), args

    def tokenizer(self):
        import tokenizers
        tokenizer = tokenizers.Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(256)
        return tokenizer

    def texts(self, lines):
        """Sorted by length, as zoo does it."""
        unique = list(dict.fromkeys(lines))
        place = {line: i for i, line in enumerate(unique)}
        ids = [e.ids for e in self.tokenizer_.encode_batch(unique)]
        out = None
        for rows in positions_by_length([len(i) for i in ids]):
            batch = np.array([ids[i] for i in rows], dtype=np.int64)
            vectors = pooled(self.forward({"tokens": batch, "mask": np.ones_like(batch)}), np.ones(batch.shape, np.float32))
            out = np.zeros((len(unique), vectors.shape[1]), np.float32) if out is None else out
            out[rows] = vectors
        return out[[place[line] for line in lines]]

    def answer(self, request):
        if "texts" in request:
            lines = open(request["texts"], encoding="utf-8").read().split("\n")[:-1]
            self.tokenizer_ = getattr(self, "tokenizer_", None) or self.tokenizer()
            return "vectors", lambda: self.texts(lines)
        import safetensors.numpy
        inputs = {k: v.astype(np.int64) if v.dtype == bool else v for k, v in safetensors.numpy.load_file(request["inputs"]).items()}
        if request.get("train"):
            return "loss", lambda: self.train(inputs)
        if "generate" in request:
            return "ids", self.generator(inputs, request["generate"])
        return "y", lambda: self.forward(inputs)


class Transformers(Peer):
    def __init__(self, folder, args):
        super().__init__(folder, args)
        import torch
        import transformers
        torch.set_num_threads(args.threads)
        self.torch = torch
        config = transformers.AutoConfig.from_pretrained(folder)
        kind = getattr(transformers, config.architectures[0])
        self.model = kind.from_pretrained(folder, dtype=getattr(torch, args.dtype))
        self.model.train() if args.training else self.model.eval()

    def tensors(self, inputs):
        names = {"tokens": "input_ids", "mask": "attention_mask", "image": "pixel_values"}
        t = {names[k]: self.torch.from_numpy(v) for k, v in inputs.items()}
        return {k: v.to(self.model.dtype) if v.is_floating_point() else v for k, v in t.items()}

    def forward(self, inputs):
        with self.torch.inference_mode():
            return self.model(**self.tensors(inputs))[0].float().numpy()

    def train(self, inputs):
        out = self.model(**self.tensors(inputs))
        loss = out.last_hidden_state.square().mean() + out.pooler_output.square().mean()
        loss.backward()
        self.model.zero_grad(set_to_none=True)
        return np.array([loss.item()])

    def texts(self, lines):
        """The loop that most people write: batches of 64 in file order, padded."""
        import transformers
        self.slow = getattr(self, "slow", None) or transformers.AutoTokenizer.from_pretrained(self.folder)
        parts = []
        for begin in range(0, len(lines), 64):
            batch = self.slow(lines[begin:begin + 64], padding=True, truncation=True, max_length=256, return_tensors="np")
            mask = batch["attention_mask"]
            parts.append(pooled(self.forward({"tokens": batch["input_ids"], "mask": mask}), mask.astype(np.float32)))
        return np.concatenate(parts)

    def generator(self, inputs, options):
        tensors = self.tensors(inputs)
        skip = 0 if self.model.config.is_encoder_decoder else inputs["tokens"].shape[1]
        skip = skip or 1

        def run():
            with self.torch.inference_mode():
                return self.model.generate(**tensors, do_sample=False, pad_token_id=self.model.config.pad_token_id or 0, **options)[:, skip:].numpy()
        return run


class PyTorch(Peer):
    """A network written in PyTorch beside this file, run eagerly: for what the transformers package does not have."""

    def __init__(self, folder, args):
        super().__init__(folder, args)
        import torch

        import itransformer
        torch.set_num_threads(args.threads)
        self.torch = torch
        self.model = itransformer.ITransformer.from_pretrained(self.folder).train(args.training)

    def forward(self, inputs):
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(inputs["series"])).numpy()

    def train(self, inputs):
        loss = self.model(self.torch.from_numpy(inputs["series"])).square().mean()
        loss.backward()
        self.model.zero_grad(set_to_none=True)
        return np.array([loss.item()])


class OnnxRuntime(Peer):
    def __init__(self, folder, args):
        super().__init__(folder, args)
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
        file = self.folder / ("model.int8.onnx" if args.dtype == "int8" else "model.onnx")
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def forward(self, inputs):
        if "image" in inputs:
            return self.session.run(None, {"pixel_values": inputs["image"]})[0]
        mask = inputs.get("mask", np.ones_like(inputs["tokens"]))
        return self.session.run(None, {"input_ids": inputs["tokens"], "attention_mask": mask})[0]


class OpenVino(Peer):
    def __init__(self, folder, args):
        super().__init__(folder, args)
        import openvino
        hint = {"float32": "f32", "bfloat16": "bf16"}[args.dtype]
        settings = {"INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        self.request = openvino.Core().compile_model(str(self.folder / "model.onnx"), "CPU", settings).create_infer_request()

    def forward(self, inputs):
        if "image" in inputs:
            return self.request.infer({"pixel_values": inputs["image"]})["y"]
        mask = inputs.get("mask", np.ones_like(inputs["tokens"]))
        return self.request.infer({"input_ids": inputs["tokens"], "attention_mask": mask})["y"].copy()


class CTranslate2(Peer):
    def __init__(self, folder, args):
        super().__init__(folder, args)
        import ctranslate2
        self.ct2 = ctranslate2
        target = self.folder / "ct2"
        kind = ctranslate2.Encoder if "bert" in self.folder.name or "minilm" in self.folder.name else ctranslate2.Generator if "gpt2" in self.folder.name else ctranslate2.Translator
        self.model = kind(str(target), device="cpu", compute_type=args.dtype, inter_threads=1, intra_threads=args.threads)
        if kind is not ctranslate2.Encoder:
            vocabulary = json.loads((self.folder / "tokenizer.json").read_text())["model"]["vocab"]
            self.ids = vocabulary
            self.words = {i: w for w, i in vocabulary.items()}

    def forward(self, inputs):
        out = self.model.forward_batch(inputs["tokens"].tolist())
        return np.array(out.last_hidden_state)

    def generator(self, inputs, options):
        rows = [[self.words[int(i)] for i in row] for row in inputs["tokens"]]
        length = options["max_new_tokens"]
        beams = options.get("num_beams", 1)

        def run():
            if isinstance(self.model, self.ct2.Generator):
                found = self.model.generate_batch(rows, beam_size=beams, max_length=length, min_length=length, include_prompt_in_result=False, sampling_topk=1)
                return np.array([r.sequences_ids[0] for r in found])
            found = self.model.translate_batch(rows, beam_size=beams, max_decoding_length=length, min_decoding_length=length)
            return np.array([[self.ids[w] for w in r.hypotheses[0]] for r in found])
        return run


PEERS = {"transformers": Transformers, "pytorch": PyTorch, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "ctranslate2": CTranslate2}


def memory_now():
    """Bytes of this process: resident, and at most so far. (getrusage's maximum would be that of the process that started this one.)"""
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return {"resident_bytes": int(lines["VmRSS"].split()[0]) * 1024, "peak_bytes": int(lines["VmHWM"].split()[0]) * 1024}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--training", action="store_true")
    args = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to standard error
    peer = PEERS[args.peer](args.folder, args)

    def say(reply):
        print(json.dumps({**reply, **memory_now()}), file=answers, flush=True)

    say({"ready": args.peer})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            name, work = peer.answer(request)
            seconds = []
            while not seconds or sum(seconds) < request.get("least_seconds", 0.0):
                start = time.perf_counter()
                result = work()
                seconds.append(time.perf_counter() - start)
            if "save" in request:
                import safetensors.numpy
                safetensors.numpy.save_file({name: np.ascontiguousarray(result)}, request["save"])
            say({"seconds": statistics.median(seconds)})
        except Exception as error:  # the comparison goes on without this peer
            say({"error": f"{type(error).__name__}: {error}"[:400]})


if __name__ == "__main__":
    main()
