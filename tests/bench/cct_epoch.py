"""Seconds per epoch of the reference PyTorch implementation of the Compact Transformer on Fashion-MNIST.

A plain training loop around github.com/SHI-Labs/Compact-Transformers (src/cct.py): the whole set in memory, shuffled
batches, random flips, AdamW, cross entropy with smoothing: what the recipe says, network settings included. Compare with the "seconds" of the epochs in
the log.jsonl that `zoo train recipes/fashion_mnist_cct.json` writes on the same machine with as many threads.

    python tests/bench/cct_epoch.py REFERENCE_FOLDER [--steps 100] [--threads 2] [--data /usr/share/datasets/fashion-mnist]
"""
import argparse
import gzip
import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F


def read_idx(path, header):
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)


def augment(batch, generator):
    flip = torch.rand((len(batch), 1, 1, 1), generator=generator) < 0.5
    return torch.where(flip, batch.flip(3), batch)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reference")
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="stop each epoch after so many steps; 0: whole epochs")
    options = parser.parse_args()
    sys.path.insert(0, options.reference)
    from src.cct import cct_2_3x2_32

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    images = torch.from_numpy(read_idx(f"{options.data}/train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).copy())
    labels = torch.from_numpy(read_idx(f"{options.data}/train-labels-idx1-ubyte.gz", 8).astype(np.int64))
    images, labels = images[:57000], labels[:57000]
    model = cct_2_3x2_32(img_size=28, n_input_channels=1, num_classes=10, attention_dropout=0.0, stochastic_depth=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.06, fused=True)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for epoch in range(options.epochs):
        order = torch.randperm(len(images), generator=generator)
        start = time.perf_counter()
        steps, total = 0, 0.0
        for begin in range(0, len(order), options.batch_size):
            chosen = order[begin : begin + options.batch_size]
            batch = augment((images[chosen].float() / 255 - 0.286) / 0.353, generator)
            loss = F.cross_entropy(model(batch), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.item()
            steps += 1
            if steps == options.steps:
                break
        seconds = time.perf_counter() - start
        print(json.dumps({"epoch": epoch + 1, "steps": steps, "seconds": round(seconds, 3), "ms_per_step": round(1e3 * seconds / steps, 2), "loss": round(total / steps, 4)}))


main()
