"""The lab's networks trained again with other seeds, originals and forms alike.

    python study/seeds.py             # all seeds, one after the other
    python study/seeds.py 1 3         # some; another process can take the others

Weights go to build/study; what is there is not trained again, and a training that was stopped goes
on from its last whole epoch. A GPU is used where there is one.
"""

import os
import sys
import time
from pathlib import Path

import safetensors.torch
import torch

from camlib import lab, networks, recipes

SEEDS = (1, 2, 3, 4, 5)
WORK = Path("build/study")
# The nine networks of the paper's tables, without the controls; each after the one it is cut from.
NAMES = tuple(name for name, making in recipes.MAKINGS.items() if name == making.network)


def weights(name: str, seed: int) -> Path:
    """Where a network is kept; the name changes with whatever determines its weights."""
    return WORK / f"{name}-{seed}-{recipes.fingerprint(name)[:12]}.safetensors"


def trained(name: str, seed: int) -> networks.Network:
    """A network of this study; seed 0 is the one that camlib ships."""
    making = recipes.MAKINGS[name]
    if seed == 0:
        return networks.create(making.network, pretrained=True, scale="lab")
    network = networks.create(making.network, scale="lab")
    network.load_state_dict(safetensors.torch.load_file(weights(name, seed)))
    return network


def main() -> None:
    wanted = [int(word) for word in sys.argv[1:]] or SEEDS
    WORK.mkdir(parents=True, exist_ok=True)
    missing = [(n, s) for s in wanted for n in NAMES if not weights(n, s).exists()]
    if not missing:
        print("All networks of the study are there.")
        return
    pictures = lab.StickerWorld("train").tensors()
    for name, seed in missing:
        path, began = weights(name, seed), time.perf_counter()
        start = recipes.MAKINGS[name].start
        network, _ = recipes.train(
            name,
            *pictures,
            path.with_suffix(".pt"),
            seed=seed,
            start=trained(start, seed) if start else None,
            # Another order of the numbers in memory: on the CPU up to twice as fast.
            memory_format=torch.channels_last,
        )
        state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        new = path.with_suffix(".new")
        safetensors.torch.save_file(state, new)
        os.replace(new, path)
        for leftover in WORK.glob(f"{path.stem}*.pt"):
            leftover.unlink()
        print(f"{name}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
