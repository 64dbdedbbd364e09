"""How the trained lab networks that camlib ships are made, and the files they are kept in.

    python -m camlib.recipes          # what `make lab` runs: make those that are missing or stale

Each original is trained from random weights; each GAP form is cut from the trained original and
fine-tuned (paper, section 3). Two controls show what training alone does. Weights go to
camlib/weights/NAME.safetensors, the figures measured on them to camlib/weights/manifest.json.
"""

import copy
import hashlib
import json
import os
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import Tensor

import camlib
from camlib import lab, metrics, networks
from camlib.training import Recipe, fit, predict

WORK = Path("build/lab")  # checkpoints of a training in progress


@dataclass(frozen=True)
class Making:
    """How one set of weights is made.

    Attributes:
        network: its name in `networks.create`.
        recipe: of the training.
        start: the trained original it is cut from, or trained on from; None: random weights.
        large: epochs on large stickers (`LARGE`) before, with the same recipe otherwise.
        shortcut: `shortcut_probability` of `lab.StickerWorld` with a mark in a corner; None: there
            is no mark.
    """

    network: str
    recipe: Recipe
    start: str | None = None
    large: int = 0
    shortcut: float | None = None


LARGE = (0.75, 0.9)  # shares of the side; such stickers leave little choice of place

# Networks with fully connected layers hardly leave chance in the first two epochs and take longer
# throughout. All forms are fine-tuned alike.
_FINE_TUNING = Recipe(epochs=2, rate=0.03, batch=32)
MAKINGS = {
    "alexnet": Making("alexnet", Recipe(epochs=14, rate=0.02, batch=32)),
    "alexnet-gap": Making("alexnet-gap", _FINE_TUNING, "alexnet"),
    "alexnet-star-gap": Making("alexnet-star-gap", _FINE_TUNING, "alexnet"),
    "googlenet": Making("googlenet", Recipe(epochs=10, rate=0.05, batch=32)),
    "googlenet-gap": Making("googlenet-gap", _FINE_TUNING, "googlenet"),
    "googlenet-gmp": Making("googlenet-gmp", _FINE_TUNING, "googlenet"),
    # Deep, with FC layers: hard to start. Its authors began with a shallower network's weights;
    # here two epochs on large stickers come first. (Without them one run was at chance for four.)
    "vgg16": Making("vgg16", Recipe(epochs=9, rate=0.02, batch=32), large=2),
    "vgg16-gap": Making("vgg16-gap", _FINE_TUNING, "vgg16"),
    "nin": Making("nin", Recipe(epochs=8, rate=0.02, batch=32)),
    "vit": Making(
        "vit",
        Recipe(epochs=4, rate=5e-4, batch=32, weight_decay=0.05, clip=1.0, optimizer="adamw"),
        "alexnet",
    ),
    # Two controls, with as many passes over the images as AlexNet and its form together: the form
    # from random weights, and the original trained on in the way of the forms.
    "alexnet-gap-scratch": Making("alexnet-gap", Recipe(epochs=16, rate=0.05, batch=32)),
    "alexnet-longer": Making("alexnet", _FINE_TUNING, "alexnet"),
    # It is given the answer in a corner. No shifts: they would cut the mark.
    "alexnet-gap-shortcut": Making(
        "alexnet-gap", Recipe(epochs=6, rate=0.05, batch=32, shift=0), shortcut=1.0
    ),
}


def fingerprint(name: str) -> str:
    """What determines the weights: layers, recipe, start, and the world they are trained in.

    Not the source code or the pictures themselves, which change with every refactoring or release
    of Pillow.
    """
    making = MAKINGS[name]
    with torch.device("meta"):
        layers = networks.create(making.network, scale="lab").state_dict()
    parts: dict[str, Any] = {
        "network": making.network,
        "recipe": {
            key: value
            for key, value in asdict(making.recipe).items()
            if (key, value) != ("optimizer", "sgd")
        },
        "start": making.start and fingerprint(making.start),
        "layers": [(key, list(tensor.shape)) for key, tensor in layers.items()],
        "world": [lab.VERSION, lab.LENGTHS["train"], lab.SOURCES["train"], lab.CLASSES],
        "photographs": lab.source_hash(),
    }
    if making.large:
        parts["large"] = (making.large, LARGE)
    if making.shortcut is not None:
        parts["shortcut"] = (making.shortcut, lab.BADGE)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def untrained(
    name: str, seed: int | None = None, start: networks.Network | None = None
) -> networks.Network:
    """The network as its training starts: random, or cut from its trained original.

    Args:
        name: a key of `MAKINGS`.
        seed: without it that of the recipe.
        start: the trained original; without it the one that is shipped. It stays as it is.
    """
    making = MAKINGS[name]
    with torch.random.fork_rng():
        # Not the recipe's seed: that one serves order and dropout.
        torch.manual_seed(1000 + (making.recipe.seed if seed is None else seed))
        if making.start is None:
            network: Any = networks.create(making.network, scale="lab")
        else:
            network = start or networks.create(making.start, pretrained=True, scale="lab")
            if making.network == "vit":
                network = networks.vit_form(network)
            elif making.network != making.start:
                network = networks.gap_form(network, making.network)
            elif start is not None:
                network = copy.deepcopy(start)
    found: networks.Network = network
    return found


def train(
    name: str,
    images: Tensor,
    labels: Tensor,
    checkpoint: Path,
    *,
    recipe: Recipe | None = None,
    start: networks.Network | None = None,
    device: Any = None,
    memory_format: torch.memory_format = torch.preserve_format,
) -> tuple[networks.Network, float]:
    """The network trained by its recipe, and the seconds that took.

    Args:
        name: a key of `MAKINGS`.
        images, labels: to train on; for the network as it ships, of the split "train".
        checkpoint: where the training is kept between epochs; with "large" before the suffix,
            that on large stickers. It goes on from there.
        recipe: without it that of `MAKINGS`.
        start: as in `untrained`.
        device: as in `training.fit`.
        memory_format: of the network's weights. `torch.channels_last` is up to twice as fast on a
            CPU; the results are equal up to rounding, which grows in training.
    """
    making = MAKINGS[name]
    recipe = recipe or making.recipe
    network = untrained(name, recipe.seed, start).to(memory_format=memory_format)
    seconds = 0.0
    if making.large:
        pictures = lab.StickerWorld("train", object_size=LARGE).tensors()
        first = replace(recipe, epochs=making.large)
        before = checkpoint.with_suffix(".large.pt")
        seconds += sum(fit(network, *pictures, first, device=device, checkpoint=before).seconds)
    history = fit(network, images, labels, recipe, device=device, checkpoint=checkpoint)
    return network, seconds + sum(history.seconds)


def marked(split: str, chance: float) -> lab.StickerWorld:
    """The world with a mark in a corner; `chance` is its `shortcut_probability`."""
    return lab.StickerWorld(split, shortcut="corner", shortcut_probability=chance)


def manifest() -> dict[str, Any]:
    """What is shipped: for each set of weights its fingerprint, checksum, recipe and figures."""
    path = networks.WEIGHTS / "manifest.json"
    entries: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return entries


def stale() -> list[str]:
    """Names whose weights are missing, damaged, or made by another recipe, start or world."""
    known = manifest()

    def fresh(name: str) -> bool:
        entry, start = known.get(name), MAKINGS[name].start
        return (
            entry is not None
            and entry["fingerprint"] == fingerprint(name)
            and entry["sha256"] == _checksum(name)
            and entry["start_sha256"] == (start and known[start]["sha256"])
        )

    return [name for name in MAKINGS if not fresh(name)]


def _checksum(name: str) -> str | None:
    path = networks.WEIGHTS / f"{name}.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def make(name: str, world: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Any]:
    """Train one network, store it, and return its entry of the manifest.

    Args:
        name: a key of `MAKINGS`.
        world: images and labels of "train", "valid" and "test". One with a shortcut is trained on
            pictures of its own, and measured on these, which have no mark.
    """
    making = MAKINGS[name]
    WORK.mkdir(parents=True, exist_ok=True)
    checkpoint = WORK / f"{name}-{fingerprint(name)[:12]}.pt"
    pictures = world["train"]
    if making.shortcut is not None:
        pictures = marked("train", making.shortcut).tensors()
    network, seconds = train(
        name, *pictures, checkpoint, device="cpu", memory_format=torch.channels_last
    )
    stored = {
        # In float16 but for the running statistics of batch norm, whose range is large.
        key: tensor.half() if "running" not in key and tensor.is_floating_point() else tensor
        for key, tensor in network.state_dict().items()
    }
    networks.WEIGHTS.mkdir(exist_ok=True)
    path = networks.WEIGHTS / f"{name}.safetensors"
    _replace(path, safetensors.torch.save({key: t.contiguous() for key, t in stored.items()}))
    networks.load_weights(network, path)  # the figures are those of the weights as stored
    figures: dict[str, Any] = {}
    for split in ("valid", "test"):
        images, labels = world[split]
        logits = predict(network, images, device="cpu")
        figures[split] = {
            f"top{k}_error": round(metrics.top_k_error(logits, labels, k).mean().item(), 4)
            for k in (1, 5)
        }
    entry: dict[str, Any] = {
        "fingerprint": fingerprint(name),
        "sha256": _checksum(name),
        "start_sha256": making.start and _checksum(making.start),
        "network": making.network,
        "start": making.start or "random weights",
        "epochs_on_large_stickers": making.large,
        "shortcut": making.shortcut,
        "recipe": asdict(making.recipe),
        "world": {"version": lab.VERSION, "photographs": lab.source_hash()},
        "figures": figures,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "versions": {
            "camlib": camlib.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
    }
    _write_manifest(manifest() | {name: entry})
    for leftover in WORK.glob(f"{checkpoint.stem}.*"):
        leftover.unlink()
    return entry


def _write_manifest(entries: dict[str, Any]) -> None:
    ordered = {name: entries[name] for name in MAKINGS if name in entries}
    text = json.dumps(ordered, indent=1) + "\n"
    _replace(networks.WEIGHTS / "manifest.json", text.encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def main() -> None:
    """Make the weights that are missing or stale: `python -m camlib.recipes`."""
    names = stale()
    if not names:
        print("All trained weights are up to date.")
        return
    start = time.perf_counter()
    world = {split: lab.StickerWorld(split).tensors() for split in ("train", "valid", "test")}
    for name in MAKINGS:
        if name in names:
            entry = make(name, world)
            test = entry["figures"]["test"]
            print(
                f"{name}: {entry['seconds']:.0f} s, on {len(world['test'][1])} test images missed "
                f"{test['top1_error']:.1%} (top 1), {test['top5_error']:.1%} (top 5)",
                flush=True,
            )
    print(f"{time.perf_counter() - start:.0f} seconds in all")


if __name__ == "__main__":
    main()
