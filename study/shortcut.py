"""AlexNet-GAP trained where a mark in a corner tells the class, in more and more of the pictures.

    python study/shortcut.py          # train what is missing; then measure, into camlib/results
    python study/shortcut.py 1 2      # only train these seeds (another process the others)

Weights go to build/study; what is there is not trained again.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from seeds import WORK
from torch import Tensor

from camlib import lab, recipes

SEEDS = (1, 2, 3)
CHANCES = (0.0, 0.5, 0.8, 0.95, 1.0)  # of the hue being that of the class, else a random class's
MAKING = "alexnet-gap-shortcut"


def weights(chance: float, seed: int) -> Path:
    return WORK / f"shortcut-{chance}-{seed}-{recipes.fingerprint(MAKING)[:12]}.safetensors"


def make(chance: float, seed: int, images: Tensor, labels: Tensor) -> None:
    path = weights(chance, seed)
    network, seconds = recipes.train(
        MAKING,
        images,
        labels,
        path.with_suffix(".pt"),
        recipe=replace(recipes.MAKINGS[MAKING].recipe, seed=seed),
        memory_format=torch.channels_last,
    )
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    new = path.with_suffix(".new")
    safetensors.torch.save_file(state, new)
    os.replace(new, path)
    path.with_suffix(".pt").unlink()
    print(f"mark right with {chance}, seed {seed}: {seconds:.0f} s", flush=True)


def main() -> None:
    wanted = [int(word) for word in sys.argv[1:]] or SEEDS
    WORK.mkdir(parents=True, exist_ok=True)
    for chance in CHANCES:
        missing = [seed for seed in wanted if not weights(chance, seed).exists()]
        if missing:
            world = lab.StickerWorld("train", shortcut="corner", shortcut_probability=chance)
            pictures = world.tensors()
            for seed in missing:
                make(chance, seed, *pictures)


if __name__ == "__main__":
    main()
