"""Speed on a GPU: zoo beside transformers and timm, eager and compiled, in turns in one run.

    python tests/bench/peers_cuda.py --zoo build/zoo --folder /tmp/peers [--rounds 7] [--only vit,bert,t5] [--write docs/results/speed_cuda.md]

Needs torch with CUDA, transformers and timm. Weights are random; zoo reads those of transformers, so their results can be compared with those of
transformers in float32. One turn repeats the work for about a fifth of a second and waits for the GPU after each time.
"""
import argparse
import datetime
import pathlib
import platform
import statistics
import time

import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from served_zoo import Zoo

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}  # in this order: weights lose digits on the way
HEAD = """# Speed on a GPU

Made by `python tests/bench/peers_cuda.py --zoo build/zoo --folder FOLDER --rounds {rounds} --write docs/results/speed_cuda.md`: all programs in turns in
one run, medians of {rounds} rounds in milliseconds, random weights, the GPU waited for after every piece of work. "compiled" is `torch.compile`: with CUDA
graphs (`mode="reduce-overhead"`) in inference, its default in training; transformers' generation with `cache_implementation="static"`, which compiles
the decoder's step. zoo records CUDA graphs by itself. Training is forward, loss and backward pass without optimizer, weights in the type named. "difference" is the
largest difference of an output from that of transformers in float32, over the largest output; of generated texts the share of equal ids.

{date}, {card}, {cpu}; torch {torch} (CUDA {cuda}), transformers {transformers}, timm {timm}.

| work | type | program | ms | times zoo's | difference |
|---|---|---|--:|--:|--:|
"""


def timed(run, times):
    torch.cuda.synchronize()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def in_turns(peers, zoo, request, rounds):
    """Median seconds by program; `peers` are functions, or None where one failed."""
    for run in peers.values():
        timed(run, 4)
    zoo.ask(**request, repeat=4)
    ways = {name: lambda times, run=run: timed(run, times) for name, run in peers.items()} | {"zoo": lambda times: zoo.ask(**request, repeat=times)}
    often = {name: max(1, min(100, int(0.2 / way(1)))) for name, way in ways.items()}
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way(often[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def rows_of(work, dtype, seconds, differences):
    return [{"work": work, "dtype": dtype, "program": name, "ms": value * 1e3, "ratio": value / seconds["zoo"], "difference": differences.get(name)}
            for name, value in seconds.items()]


def difference(got, exact):
    got, exact = got.float().cpu(), exact.float().cpu()
    return ((got - exact).abs().max() / exact.abs().max()).item()


def outputs_of(result):
    if torch.is_tensor(result):
        return [result]
    return [value for value in result.to_tuple() if torch.is_tensor(value)]


def inference(args, work, dtype, folder, models, inputs, zoo_inputs, exact):
    """`models` by name; `exact` gives the first output in float32."""
    peers, differences = {}, {}
    for name, model in models.items():
        def run(model=model):
            with torch.inference_mode():
                return outputs_of(model(**inputs) if isinstance(inputs, dict) else model(inputs))[0]
        peers[name] = run
        if name.startswith("transformers"):
            differences[name] = difference(run(), exact)
    file, results = folder / "inputs.safetensors", folder / "results.safetensors"
    save_file(zoo_inputs, file)
    zoo = Zoo(args.zoo, folder, dtype)
    seconds = in_turns(peers, zoo, {"inputs": str(file)}, args.rounds)
    zoo.ask(inputs=str(file), save=str(results))
    zoo.close()
    saved = load_file(results)
    differences["zoo"] = difference(saved.get("logits", saved.get("hidden")), exact)
    return rows_of(work, dtype, seconds, differences)


def training(args, work, dtype, folder, models, inputs, zoo_inputs):
    peers = {}
    for name, model in models.items():
        def run(model=model):
            loss = sum(output.float().square().mean() for output in outputs_of(model(**inputs) if isinstance(inputs, dict) else model(inputs)))
            loss.backward()
            model.zero_grad(set_to_none=True)
        peers[name] = run
    file = folder / "inputs.safetensors"
    save_file(zoo_inputs, file)
    zoo = Zoo(args.zoo, folder, dtype, training=True)
    seconds = in_turns(peers, zoo, {"inputs": str(file), "train": True}, args.rounds)
    zoo.close()
    return rows_of(work, dtype, seconds, {})


def vit(args):
    folder = args.folder / "vit"
    config = transformers.ViTConfig(num_labels=1000)
    torch.manual_seed(0)
    reference = transformers.ViTForImageClassification(config).eval().cuda()
    reference.save_pretrained(folder)
    plain = timm.create_model("vit_base_patch16_224", pretrained=False).eval().cuda()
    for batch in (1, 256):
        image = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            exact = torch.cat([reference.float()(part.cuda()).logits for part in image.split(32)])
        half = image.to(torch.bfloat16)
        models = {"transformers eager": reference.to(torch.bfloat16), "timm eager": plain.to(torch.bfloat16),
                  "timm compiled": torch.compile(plain, mode="reduce-overhead", dynamic=False)}
        yield from inference(args, f"ViT-B/16, batch {batch}", "bfloat16", folder, models, half.cuda(), {"image": half}, exact)
    half = torch.randn(128, 3, 224, 224).to(torch.bfloat16)
    torch.compiler.reset()
    models = {"transformers eager": reference.train(), "timm eager": plain.train(), "timm compiled": torch.compile(plain, dynamic=False)}
    yield from training(args, "ViT-B/16, training, batch 128", "bfloat16", folder, models, half.cuda(), {"image": half})


def bert(args):
    folder = args.folder / "bert"
    torch.manual_seed(0)
    reference = transformers.BertModel(transformers.BertConfig()).eval().cuda()
    reference.save_pretrained(folder)
    for batch, training_too in ((32, True), (8, True), (1, False)):
        tokens = torch.randint(1000, 30000, (batch, 128), generator=torch.Generator().manual_seed(batch))
        given = {"tokens": tokens, "mask": torch.ones_like(tokens), "token_types": torch.zeros_like(tokens)}
        inputs = {"input_ids": tokens.cuda(), "attention_mask": torch.ones_like(tokens).cuda(), "token_type_ids": torch.zeros_like(tokens).cuda()}
        torch.compiler.reset()
        with torch.inference_mode():
            exact = reference.eval().float()(**inputs).last_hidden_state
        half = reference.to(torch.bfloat16)
        models = {"transformers eager": half, "transformers compiled": torch.compile(half, mode="reduce-overhead", dynamic=False)}
        yield from inference(args, f"BERT-base, {batch} x 128", "bfloat16", folder, models, inputs, given, exact)
        if training_too:
            torch.compiler.reset()
            models = {"transformers eager": half.train(), "transformers compiled": torch.compile(half, dynamic=False)}
            yield from training(args, f"BERT-base, training, {batch} x 128", "bfloat16", folder, models, inputs, given)


def t5(args):
    folder = args.folder / "t5"
    torch.manual_seed(0)
    config = transformers.T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32128, decoder_start_token_id=0)
    model = transformers.T5ForConditionalGeneration(config).eval().cuda()
    model.save_pretrained(folder)
    tokens = torch.randint(2, 32000, (1, 128), generator=torch.Generator().manual_seed(1))
    how = {"max_new_tokens": 64, "min_new_tokens": 64, "num_beams": 1}
    for dtype, kind in DTYPES.items():
        model = model.to(kind)

        def write(**more):
            with torch.inference_mode():
                return model.generate(tokens.cuda(), attention_mask=torch.ones_like(tokens).cuda(), do_sample=False, **how, **more)[:, 1:].cpu()
        peers, ids = {"transformers eager": write}, {"transformers eager": write()}
        try:
            ids["transformers compiled"] = write(cache_implementation="static")
            peers["transformers compiled"] = lambda: write(cache_implementation="static")
        except Exception as error:  # whatever this version of transformers refuses
            print(f"transformers' static cache, {dtype}: {str(error)[:200]}", flush=True)
        file, results = folder / "inputs.safetensors", folder / "results.safetensors"
        save_file({"tokens": tokens, "mask": torch.ones_like(tokens)}, file)
        zoo = Zoo(args.zoo, folder, dtype)
        seconds = in_turns(peers, zoo, {"inputs": str(file), "generate": how}, args.rounds)
        zoo.ask(inputs=str(file), generate=how, save=str(results))
        zoo.close()
        ids["zoo"] = load_file(results)["ids"]
        same = {name: (value == ids["transformers eager"]).float().mean().item() for name, value in ids.items()}
        yield from rows_of("T5-base, greedy, batch 1, 128 in, 64 out", dtype, seconds, same)


def line(row):
    text = row["work"].startswith("T5")
    other = "" if row["difference"] is None else f"{row['difference']:.0%} same ids" if text else f"{row['difference']:.4f}"
    return f"| {row['work']} | {row['dtype']} | {row['program']} | {row['ms']:.2f} | {row['ratio']:.2f} | {other} |"


def cpu_name():
    for text in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if text.startswith("model name"):
            return text.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoo", default="build/zoo")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="vit,bert,t5")
    parser.add_argument("--write", type=pathlib.Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("highest")
    page = HEAD.format(date=datetime.date.today(), rounds=args.rounds, card=torch.cuda.get_device_name(), cpu=cpu_name(), torch=torch.__version__, cuda=torch.version.cuda,
                       transformers=transformers.__version__, timm=timm.__version__)
    print(page, end="", flush=True)
    for name in args.only.split(","):
        for row in {"vit": vit, "bert": bert, "t5": t5}[name](args):
            page += line(row) + "\n"
            print(line(row), flush=True)
            if args.write:  # row by row: what was measured stays
                args.write.write_text(page)
        torch.compiler.reset()
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
