"""Greedy and beam generation on a GPU: zoo beside transformers' eager generate(), with random weights and equal ids.

    python tests/bench/generation_cuda.py --zoo build/zoo --folder /tmp/generation [--rounds 5]

Needs torch with CUDA and transformers. Prints a Markdown table; --json FILE writes the same as JSON.
"""
import argparse
import json
import pathlib
import statistics
import time

import torch
import transformers
from safetensors.torch import load_file, save_file

from served_zoo import Zoo


def checkpoint(folder):
    torch.manual_seed(0)
    config = transformers.T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, vocab_size=32128, decoder_start_token_id=0)
    model = transformers.T5ForConditionalGeneration(config).eval()
    if not (folder / "model.safetensors").exists():
        model.save_pretrained(folder)
    return model.cuda()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoo", default="build/zoo")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model = checkpoint(args.folder)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, transformers {transformers.__version__}; T5-base shape, 128 tokens in, 64 out\n")
    print("| dtype | batch | beams | transformers eager ms | zoo ms | ratio | same ids |\n|---|--:|--:|--:|--:|--:|--:|", flush=True)
    rows = []
    for dtype, name in ((torch.float32, "float32"), (torch.bfloat16, "bfloat16")):
        model = model.to(dtype)
        zoo = Zoo(args.zoo, args.folder, name)
        for batch, beams in ((1, 1), (8, 1), (1, 4), (8, 4)):
            tokens = torch.randint(2, 32000, (batch, 128), generator=torch.Generator().manual_seed(batch))
            inputs = args.folder / f"inputs-{batch}.safetensors"
            save_file({"tokens": tokens, "mask": torch.ones_like(tokens)}, inputs)
            theirs, ours = [], []
            how = {"max_new_tokens": 64, "min_new_tokens": 64, "num_beams": beams}
            for i in range(args.rounds + 1):
                torch.cuda.synchronize()
                start = time.perf_counter()
                with torch.inference_mode():
                    ids = model.generate(tokens.cuda(), attention_mask=torch.ones_like(tokens).cuda(), do_sample=False, **how)
                torch.cuda.synchronize()
                theirs.append(time.perf_counter() - start)
                ours.append(zoo.ask(inputs=str(inputs), generate=how, save=str(args.folder / "ids.safetensors")))
            same = (load_file(args.folder / "ids.safetensors")["ids"] == ids[:, 1:].cpu()).float().mean().item()
            a, b = statistics.median(theirs[1:]) * 1e3, statistics.median(ours[1:]) * 1e3
            rows.append({"dtype": name, "batch": batch, "beams": beams, "transformers_ms": a, "zoo_ms": b, "same_ids": same})
            print(f"| {name} | {batch} | {beams} | {a:.1f} | {b:.1f} | {a / b:.1f} | {same:.3f} |", flush=True)
        zoo.close()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
