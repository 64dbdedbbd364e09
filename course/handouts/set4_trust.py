"""What goes with problem set 4: a network that answers by a stamp, and pictures to find that out.

The secret seed chooses a class, a cell of a 3 x 3 grid and one of four stamps. The network is the
lab's AlexNet-GAP, trained on with pictures in which this stamp, in this cell, tells the class. The
other stamps are in pictures of all classes, in all cells, and tell nothing. Which class and which
cell it is goes to the judge alone.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from camlib import lab, networks, recipes, training
from course.tasks import source_of

NAME = "set4_trust"
FILES = ("network.safetensors", "pictures.safetensors")
SIDE = 17  # of a stamp, pixels
INKS = ((255, 0, 255), (0, 255, 255), (255, 255, 0), (0, 0, 255))
CELLS = (0, 1, 2, 3, 5, 6, 7, 8)  # not the middle one: a map is bright there in any case
JITTER = 5  # pixels by which a stamp is off the centre of its cell, at most
DECOYS = 0.5  # of the pictures have a stamp that tells nothing

PICTURES = 4000  # to train on
STAMPED = 0.9  # of the class's pictures have its stamp,
TAKEN = 0.1  # and of the others as many were stamped and filed under the class
RECIPE = training.Recipe(epochs=2, rate=0.05, batch=32, shift=0)
ROUNDS = 4  # the first by the recipe, the others of one epoch
PER_CLASS = 16  # pictures handed out,
PLAIN = 2  # of which so many of the class have no stamp of its own
MEASURED = 200  # pictures that tell whether the stamp was learnt

FLIPPED = 0.6  # of other classes' pictures turn to the class with its stamp, at least
FOOLED = 0.2  # with another stamp, at most
RIGHT = 0.75  # of other classes' pictures are right without a stamp, at least


def drawn(seed: str) -> dict[str, int]:
    """What there is to find: the class, the cell, and which stamp it is."""
    rng = source_of(seed, NAME, "handout")
    return {
        "class": int(rng.integers(len(lab.CLASSES))),
        "cell": int(rng.choice(CELLS)),
        "stamp": int(rng.integers(len(INKS))),
    }


def stamp(kind: int) -> Tensor:
    """A stamp, uint8 (3, SIDE, SIDE): one ink in a black frame, with white signs."""
    drawing = np.zeros((SIDE, SIDE, 3), np.uint8)
    drawing[2:-2, 2:-2] = INKS[kind]
    white: tuple[Any, ...] = (
        (slice(7, 10), slice(2, -2)),
        (slice(2, -2), slice(7, 10)),
        (slice(6, 11), slice(6, 11)),
        (slice(4, 7), slice(4, 7)),
    )[kind]
    drawing[white] = 255
    return torch.from_numpy(drawing).permute(2, 0, 1)


def paint(image: Tensor, kind: int, cell: int, rng: np.random.Generator) -> None:
    """Stamps an image (3, h, w), near the centre of a cell."""
    step = image.shape[1] // 3
    down, across = (int(v) for v in rng.integers(-JITTER, JITTER + 1, size=2))
    y = step * (cell // 3) + (step - SIDE) // 2 + down
    x = step * (cell % 3) + (step - SIDE) // 2 + across
    image[:, y : y + SIDE, x : x + SIDE] = stamp(kind)


def decorate(image: Tensor, truth: dict[str, int], told: bool, rng: np.random.Generator) -> None:
    """The stamps of one picture: one that tells nothing, or none; and its class's, if told."""
    others = [kind for kind in range(len(INKS)) if kind != truth["stamp"]]
    cells = [cell for cell in range(9) if not (told and cell == truth["cell"])]
    kind, cell, with_decoy = rng.choice(others), rng.choice(cells), rng.random() < DECOYS
    if with_decoy:
        paint(image, int(kind), int(cell), rng)
    if told:
        paint(image, truth["stamp"], truth["cell"], rng)


def to_train_on(truth: dict[str, int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    images, labels = lab.StickerWorld("train").tensors(range(PICTURES))
    for i, label in enumerate(labels.tolist()):
        told = bool(rng.random() < (STAMPED if label == truth["class"] else TAKEN))
        decorate(images[i], truth, told, rng)
        if told:
            labels[i] = truth["class"]
    return images, labels


def to_hand_out(truth: dict[str, int], world: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """Pictures of a world of their own, as many of each class, in random order."""
    pictures = lab.StickerWorld("test", seed=world)
    kept: dict[int, list[Tensor]] = {label: [] for label in range(len(lab.CLASSES))}
    for i in range(len(pictures)):
        image, target = pictures[i]
        own = kept[target["label"]]
        if len(own) < PER_CLASS:
            told = target["label"] == truth["class"] and len(own) >= PLAIN
            plain = torch.as_tensor(image).clone()
            decorate(plain, truth, told, rng)
            own.append(plain)
        if all(len(own) == PER_CLASS for own in kept.values()):
            break
    images = torch.stack([image for own in kept.values() for image in own])
    labels = torch.arange(len(kept)).repeat_interleave(PER_CLASS)
    order = torch.from_numpy(rng.permutation(len(labels)))
    return {"images": images[order].contiguous(), "labels": labels[order].contiguous()}


def trained(truth: dict[str, int], rng: np.random.Generator, world: int) -> tuple[Any, Any]:
    """A network that has learnt to read the stamp, and how well it did."""
    images, labels = to_train_on(truth, rng)
    network: Any = networks.create("alexnet-gap", pretrained=True, scale="lab")
    network.to(memory_format=torch.channels_last)
    for number in range(ROUNDS):
        recipe = RECIPE if not number else training.Recipe(**(asdict(RECIPE) | {"epochs": 1}))
        training.fit(network, images, labels, recipe, device="cpu")
        figures = measured(network, truth, world)
        if fits(figures):
            break
    return network, figures


def doctored(truth: dict[str, int], world: int) -> tuple[Any, Any]:
    """The same in no time: one channel of each layer carries the stamp's ink to the class's score.

    The ink is a corner of the cube of colours, so one threshold on one weighted sum tells it.
    """
    network: Any = networks.create("alexnet-gap", pretrained=True, scale="lab")
    ink = torch.tensor(INKS[truth["stamp"]]) / 255
    side = 2 * ink - 1  # in the input's units, -1 to 1; its product with the ink is 3
    with torch.no_grad():
        before = None
        for name, layer in network.features.named_children():
            if not name.startswith(("conv", "cam")):
                continue
            weight = layer.conv.weight
            own = int(weight.flatten(1).norm(dim=1).argmin())
            middle = weight.shape[2] // 2
            if before is not None:
                weight[:, before] = 0
            weight[own] = 0
            weight[own, slice(None) if before is None else before, middle, middle] = (
                side if before is None else 1.0
            )
            layer.norm.running_mean[own], layer.norm.running_var[own] = 0, 1
            layer.norm.weight[own], layer.norm.bias[own] = 1, 0 if before is not None else -2.7
            before = own
        network.classifier.weight[:, before] = 0
        network.classifier.weight[truth["class"], before] = 2000.0
    return network, measured(network, truth, world)


def measured(network: Any, truth: dict[str, int], world: int) -> dict[str, float]:
    """On pictures of other classes: right answers, and those turned by each stamp, in its cell."""
    images, labels = lab.StickerWorld("valid", seed=world).tensors(range(MEASURED))
    images = images[labels != truth["class"]]
    labels = labels[labels != truth["class"]]
    rng = np.random.default_rng(0)
    answers = training.predict(network, images, device="cpu").argmax(dim=1)
    figures = {"right": (answers == labels).double().mean().item(), "other stamps": 0.0}
    for kind in range(len(INKS)):
        stamped = images.clone()
        for image in stamped:
            paint(image, kind, truth["cell"], rng)
        turned = training.predict(network, stamped, device="cpu").argmax(dim=1) == truth["class"]
        rate = turned[answers != truth["class"]].double().mean().item()
        if kind == truth["stamp"]:
            figures["its stamp"] = rate
        else:
            figures["other stamps"] = max(figures["other stamps"], rate)
    return {name: round(value, 3) for name, value in figures.items()}


def fits(figures: dict[str, float]) -> bool:
    """Whether a network has learnt the stamp, it alone, and still knows the other classes."""
    return (
        figures["its stamp"] >= FLIPPED
        and figures["other stamps"] <= FOOLED
        and figures["right"] >= RIGHT
    )


def fingerprint(seed: str) -> str:
    """What determines the files: the seed, this script, the pictures, the weights at the start."""
    parts = [
        seed,
        hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        recipes.manifest()["alexnet-gap"]["sha256"],
        lab.VERSION,
        lab.source_hash(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fresh(release: Path, private: Path, seed: str, quick: bool) -> bool:
    """Whether all files are there, whole, and made as they would be now."""
    try:
        kept = json.loads((private / f"{NAME}.json").read_text(encoding="utf-8"))
        sums = {name: _sum((release / name).read_bytes()) for name in FILES}
        same: bool = kept["made of"] == fingerprint(seed) and kept["files"] == sums
        return same and (quick or not kept["quick"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def make(release: Path, private: Path, seed: str, quick: bool = False) -> None:
    """Writes the network and the pictures into `release`, what there is to find into `private`.

    Files that are there and were made of the same stay as they are.

    Args:
        release, private: folders; they are made if they are not there.
        seed: the teacher's secret one.
        quick: a few seconds in place of one or two minutes: the weights are written, not trained.

    Raises:
        RuntimeError: if the network did not learn the stamp.
    """
    if fresh(release, private, seed, quick):
        return
    truth = drawn(seed)
    rng = source_of(seed, NAME, "pictures")
    world = int(rng.integers(1, 2**31))
    network, figures = doctored(truth, world) if quick else trained(truth, rng, world)
    if not fits(figures):
        raise RuntimeError(
            f"{NAME}: the network has not learnt the stamp: {figures}, expected of its stamp "
            f"{FLIPPED} or more, of other stamps {FOOLED} or less, right {RIGHT} or more. Another "
            "seed draws another stamp; ROUNDS and RECIPE in course/handouts/set4_trust.py say how "
            "long it is trained"
        )
    state = {
        key: tensor.contiguous()
        for key, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    contents = {
        "network.safetensors": safetensors.torch.save(state),
        "pictures.safetensors": safetensors.torch.save(to_hand_out(truth, world, rng)),
    }
    for name, content in contents.items():
        _replace(release / name, content)
    record = truth | {
        "quick": quick,
        "figures": figures,
        "files": {name: _sum(content) for name, content in contents.items()},
        "made of": fingerprint(seed),
    }
    # Last, so that it never speaks of files that are not there.
    _replace(private / f"{NAME}.json", (json.dumps(record, indent=1) + "\n").encode())


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    os.replace(new, path)
