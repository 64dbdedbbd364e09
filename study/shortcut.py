"""AlexNet-GAP trained where a mark in a corner tells the class, in more and more of the pictures.

    python study/shortcut.py          # train what is missing; then measure, into camlib/results
    python study/shortcut.py 1 2      # only train these seeds (another process the others)

Weights go to build/study; what is there is not trained again.
"""

import hashlib
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from localization import write
from seeds import WORK
from torch import Tensor, nn

from camlib import cam, evaluation, lab, networks, recipes, study, training
from camlib.evaluation import Split

SEEDS = (1, 2, 3)
CHANCES = (0.0, 0.5, 0.8, 0.95, 1.0)  # of the hue being that of the class, else a random class's
MAKING = "alexnet-gap-shortcut"
# Trained on from the networks with a mark that is always right, with marks that say nothing, and
# as a control with the same marks as before.
REPAIRS: dict[Any, float] = {"repaired": 0.0, "control": 1.0}
REPAIR = replace(recipes.MAKINGS[MAKING].recipe, epochs=4, rate=0.03)
TEST = 1000
VISIBLE = 8  # levels of 256 by which a pixel of the mark, or of its shadow, differs at least
CORNER = 20  # pixels


def weights(what: float | str, seed: int) -> Path:
    """Where the network of a chance, or a repair, is kept."""
    made = recipes.fingerprint(MAKING)
    if what in REPAIRS:
        made = hashlib.sha256(f"{made}, {REPAIRS[what]}, {asdict(REPAIR)}".encode()).hexdigest()
    return WORK / f"shortcut-{what}-{seed}-{made[:12]}.safetensors"


def kept(what: float | str, seed: int) -> networks.Network:
    network: Any = networks.create("alexnet-gap", scale="lab")
    network.load_state_dict(safetensors.torch.load_file(weights(what, seed)))
    found: networks.Network = network.to(memory_format=torch.channels_last)
    return found


def make(what: float | str, seed: int, images: Tensor, labels: Tensor) -> None:
    """Train a network on these pictures, or train on where it is a repair, and keep it."""
    path = weights(what, seed)
    checkpoint = path.with_suffix(".pt")
    if what in REPAIRS:
        network = kept(1.0, seed)
        recipe = replace(REPAIR, seed=seed)
        history = training.fit(network, images, labels, recipe, checkpoint=checkpoint)
        seconds = sum(history.seconds)
    else:
        network, seconds = recipes.train(
            MAKING,
            images,
            labels,
            checkpoint,
            recipe=replace(recipes.MAKINGS[MAKING].recipe, seed=seed),
            memory_format=torch.channels_last,
        )
    state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    new = path.with_suffix(".new")
    safetensors.torch.save_file(state, new)
    os.replace(new, path)
    checkpoint.unlink()
    print(f"{what}, seed {seed}: {seconds:.0f} s", flush=True)


def share(values: Tensor) -> float:
    return round(values.double().mean().item(), 4)


def measure(network: nn.Module, pictures: dict[str, Split]) -> dict[str, Any]:
    """What a mark does to the answers, and how much of the map of the answer lies on it."""
    right, wrong = pictures["with the right mark"], pictures["with a wrong mark"]
    answers = {
        name: training.predict(network, of.images, device="cpu").argmax(dim=1)
        for name, of in pictures.items()
    }
    plain = pictures["without a mark"].images
    # The knob changes nothing else in a picture: the mark is where the two differ.
    mark = (right.images.int() - plain.int()).abs().amax(dim=1) > VISIBLE
    inputs = training.normalise(right.images, network)
    maps = torch.cat(
        [cam.class_activation_maps(network, some).maps[:, 0] for some in torch.split(inputs, 100)]
    )
    positive = cam.upsample(maps, (96, 96)).relu()
    mass = positive / positive.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    highest = positive.flatten(1).argmax(dim=1)
    rows, columns = (highest // 96 - 47.5).abs(), (highest % 96 - 47.5).abs()
    hints = torch.tensor([target["hint"] for target in wrong.targets])
    return {
        "accuracy": {name: share(answers[name] == of.labels) for name, of in pictures.items()},
        "says the mark": share(answers["with a wrong mark"] == hints),
        "mass on the mark": share((mass * mark).sum(dim=(1, 2))),
        "mark's share of the picture": share(mark.double().mean(dim=(1, 2))),
        "mass on the sticker": share((mass * right.masks).sum(dim=(1, 2))),
        "sticker's share of the picture": share(right.masks.double().mean(dim=(1, 2))),
        # Within CORNER pixels of two neighbouring sides; the four squares' share of the picture:
        "highest in a corner": share((rows > 48 - CORNER) & (columns > 48 - CORNER)),
        "corners' share of the picture": (2 * CORNER / 96) ** 2,
    }


def pictures_of_test() -> dict[str, Split]:
    """The same pictures without a mark, with that of their class, and with that of another."""
    wrong = evaluation.split(recipes.marked("test", 0.0), TEST)
    # The mark is that of a class drawn at random: now and then the right one.
    other = [i for i, target in enumerate(wrong.targets) if target["hint"] != target["label"]]
    return {
        "without a mark": evaluation.split(lab.StickerWorld("test"), TEST),
        "with the right mark": evaluation.split(recipes.marked("test", 1.0), TEST),
        "with a wrong mark": Split(
            wrong.images[other], [wrong.targets[i] for i in other], wrong.labels[other]
        ),
    }


def main() -> None:
    wanted = [int(word) for word in sys.argv[1:]] or SEEDS
    WORK.mkdir(parents=True, exist_ok=True)
    for what, chance in (*((c, c) for c in CHANCES), *REPAIRS.items()):
        missing = [seed for seed in wanted if not weights(what, seed).exists()]
        if missing:
            pictures = recipes.marked("train", chance).tensors()
            for seed in missing:
                make(what, seed, *pictures)
    if sys.argv[1:]:
        return
    test = pictures_of_test()
    rows = {
        str(what): {str(seed): measure(kept(what, seed), test) for seed in SEEDS}
        for what in (*CHANCES, *REPAIRS)
    }
    content = {
        "made by": "study/shortcut.py",
        "recipe": recipes.fingerprint(MAKING),
        "chances": CHANCES,
        "seeds": SEEDS,
        "images": {name: len(of.labels) for name, of in test.items()},
        "repair epochs": REPAIR.epochs,
        "repairs": {name: rows.pop(name) for name in REPAIRS},
        "rows": rows,
    }
    study.RESULTS.mkdir(exist_ok=True)
    write(study.RESULTS / "shortcut.json", content)
    print("camlib/results/shortcut.json")


if __name__ == "__main__":
    main()
