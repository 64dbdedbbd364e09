"""The lab's networks trained again with other seeds, originals and forms alike.

    python study/seeds.py             # all seeds, one after the other
    python study/seeds.py 1 3         # some; another process can take the others

Weights go to build/study; what is there is not trained again, and a training that was stopped goes
on from its last whole epoch. A GPU is used where there is one.
"""

import hashlib
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from camlib import lab, networks, recipes

SEEDS = (1, 2, 3, 4, 5)
WORK = Path("build/study")
# Two forms fine-tuned on objects that only a part of them tells apart. They are harder to learn:
# a part is smaller than a sticker. So they get more epochs.
ON_PARTS = {f"{form} on parts": form for form in ("googlenet-gap", "googlenet-gmp")}
PARTS_EPOCHS = 4
# The nine networks of the paper's tables, without the controls; each after the one it is cut from.
_OF_TABLES = (*networks.ORIGINALS, *networks.SURGERY)
NAMES = (*(name for name in recipes.MAKINGS if name in _OF_TABLES), *ON_PARTS)


def made_by(name: str) -> str:
    """What determines the weights but for the seed, as a hash."""
    made = recipes.fingerprint(ON_PARTS.get(name, name))
    if name in ON_PARTS:
        made = hashlib.sha256(f"{made}, parts, {PARTS_EPOCHS} epochs".encode()).hexdigest()
    return made


def weights(name: str, seed: int) -> Path:
    """Where a network is kept; the name changes with whatever determines its weights."""
    return WORK / f"{name.replace(' ', '-')}-{seed}-{made_by(name)[:12]}.safetensors"


def trained(name: str, seed: int) -> networks.Network:
    """A network of this study; seed 0 is the one that camlib ships, of those on parts none."""
    form = ON_PARTS.get(name, name) if seed else name
    network = networks.create(form, pretrained=seed == 0, scale="lab")
    if seed:
        network.load_state_dict(safetensors.torch.load_file(weights(name, seed)))
    return network


def make(name: str, seed: int, images: Tensor, labels: Tensor) -> None:
    """Train one network on these pictures and keep it."""
    path, form = weights(name, seed), ON_PARTS.get(name, name)
    recipe = replace(recipes.MAKINGS[form].recipe, seed=seed)
    if name in ON_PARTS:
        recipe = replace(recipe, epochs=PARTS_EPOCHS)
    start = recipes.MAKINGS[form].start
    network, _ = recipes.train(
        form,
        images,
        labels,
        path.with_suffix(".pt"),
        recipe=recipe,
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


def main() -> None:
    wanted = [int(word) for word in sys.argv[1:]] or SEEDS
    WORK.mkdir(parents=True, exist_ok=True)
    pictures: dict[bool, tuple[Tensor, Tensor]] = {}
    for seed in wanted:
        for name in NAMES:
            if weights(name, seed).exists():
                continue
            parts, began = name in ON_PARTS, time.perf_counter()
            if parts not in pictures:
                pictures[parts] = lab.StickerWorld("train", parts=parts).tensors()
            make(name, seed, *pictures[parts])
            print(f"{name}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
    print("All networks of these seeds are there.")


if __name__ == "__main__":
    main()
