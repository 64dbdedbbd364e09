"""Deep features on other tasks, maps from an SVM's weights, and the second look (section 4, 4.1).

    python study/deep_features.py         # what is missing, then camlib/results/deep_features.json
    python study/deep_features.py lite0   # only some parts: "new motifs", lite0, "second look"

Every seed is a world of its own: training, validation and test pictures. C, the share of the
maximum, the side of the centre box and the network of the second look are chosen on validation
pictures. What is measured for a seed is kept in build/study.
"""

import hashlib
import json
import platform
import sys
import warnings
from pathlib import Path
from typing import Any

import sklearn
import torch
import torchvision
from localization import write
from seeds import WORK
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn
from torchvision.ops import box_iou

import camlib
from camlib import boxes, cam, deep_features, evaluation, lab, metrics, networks, recipes, study
from camlib.deep_features import LAST
from camlib.evaluation import Split
from camlib.training import normalise

SEEDS = (1, 2, 3, 4)
LITE0_SEEDS = (1, 2, 3)
PER_CLASS = (3, 6, 12, 24)  # training pictures, of the curve
CLASSES = len(lab.NEW_CLASSES)
LENGTHS = {"train": 240, "valid": 120, "test": 240}
NETWORKS = {  # and the layers that features are taken from
    "alexnet": (LAST, "features.conv5"),
    "alexnet-gap": (LAST, "features.conv3"),
    "vgg16": (LAST,),
    "vgg16-gap": (LAST,),
    "googlenet": (LAST,),
    "googlenet-gap": (LAST,),
}
CROP_SHARES = (0.2, 0.4, 0.6, 0.8)  # of the map's maximum, for the crop
LITE0_SIZE = 192
LITE0_LAYERS = (LAST, "blocks.5", "blocks.3", "blocks.2")
SOURCE, INPUT = 192, 96  # pixels: of the pictures of the second look, and of what is looked at
SIZES: dict[str, Any] = {"one size": 0.3, "any size": (0.2, 0.5)}  # `object_size`, of parts
SECOND_LOOK = ("alexnet-gap", "googlenet-gap", "vgg16-gap")
FITTING = "alexnet-gap"  # whose boxes at 20 % fit better (study/localization.py)
CODE = hashlib.sha256(
    b"".join(Path(str(m.__file__)).read_bytes() for m in (lab, deep_features))
    + Path(__file__).read_bytes()
).hexdigest()[:8]

Vectors = dict[str, Tensor]


def trained(name: str) -> nn.Module:
    network = networks.create(name, pretrained=True, scale="paper" if name == "lite0" else "lab")
    return network.to(memory_format=torch.channels_last)


def pictures(seed: int, **knobs: Any) -> dict[str, Split]:
    return {
        split: evaluation.split(lab.StickerWorld(split, seed=seed, **knobs), length)
        for split, length in LENGTHS.items()
    }


def balanced(labels: Tensor, per_class: int) -> Tensor:
    """Indices of the first pictures of each class."""
    return torch.cat([(labels == c).nonzero()[:per_class, 0] for c in labels.unique()])


def histogram(images: Tensor) -> Tensor:
    """Shares of 4 x 4 x 4 colours, (N, 64)."""
    codes = (images // 64).long()
    codes = codes[:, 0] * 16 + codes[:, 1] * 4 + codes[:, 2]
    return torch.stack([c.flatten().bincount(minlength=64) for c in codes]) / codes[0].numel()


def learnt(vectors: Vectors, world: dict[str, Split], rows: Tensor | None = None) -> Any:
    """The SVM chosen on validation pictures, and its accuracy on test pictures."""
    rows = torch.arange(len(world["train"].labels)) if rows is None else rows
    train = vectors["train"][rows], world["train"].labels[rows]
    chosen = deep_features.choose(train, (vectors["valid"], world["valid"].labels))
    right = deep_features.correct(chosen.svm, vectors["test"], world["test"].labels)
    return chosen, round(right.mean().item(), 4)


def maps_of(network: nn.Module, split: Split, images: Tensor | None = None) -> cam.CamResult:
    """Maps of the top class and, second, of the true class."""
    parts = []
    images = split.images if images is None else images
    for some, labels in zip(images.split(50), split.labels.split(50), strict=True):
        inputs = normalise(some, network)
        with torch.no_grad():
            top: Any = network(inputs).argmax(dim=1)
        classes = torch.stack([top, labels], dim=1)
        parts.append(cam.class_activation_maps(network, inputs, classes))
    return cam.CamResult(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def centre(side: float, size: int, number: int) -> Tensor:
    half = side * size / 2
    middle = size / 2
    return torch.tensor([middle - half, middle - half, middle + half, middle + half]).expand(
        number, 4
    )


def known_error(maps: Tensor | None, split: Split, share: float) -> float:
    """GT-known error of boxes at a share of the maximum; without maps, of a centre box."""
    size, number = split.images.shape[-1], len(split.labels)
    if maps is None:
        guesses = centre(share, size, number)
    else:
        guesses = boxes.boxes_from_maps(cam.upsample(maps, size), share)
    missed = metrics.localization_error(split.labels[:, None], guesses[:, None], split.targets)
    return missed.mean().item()


def localized(network: nn.Module, world: dict[str, Split]) -> dict[str, Any]:
    """GT-known errors of the maps of an SVM, beside those of a box in the middle."""
    valid, test = (maps_of(network, world[s]).maps[:, 1] for s in ("valid", "test"))
    curve = torch.tensor([known_error(valid, world["valid"], s) for s in evaluation.SHARES])
    share = evaluation.best_share(curve)
    sides = [s / 20 for i, s in enumerate(range(6, 21))]
    side = min(sides, key=lambda s: known_error(None, world["valid"], s))
    return {
        "share": share,
        "side": side,
        "at 20 %": round(known_error(test, world["test"], 0.2), 4),
        "at the chosen share": round(known_error(test, world["test"], share), 4),
        "centre box": round(known_error(None, world["test"], side), 4),
    }


def of_new_motifs(seed: int) -> dict[str, Any]:
    world = pictures(seed, new_motifs=True)
    accuracy, curves = {}, {}
    vectors: dict[str, Vectors] = {
        "histogram": {s: histogram(split.images) for s, split in world.items()}
    }
    for name, layers in NETWORKS.items():
        network = trained(name)
        found = {
            s: deep_features.by_layer(network, split.images, layers) for s, split in world.items()
        }
        vectors |= {f"{name} {layer}": {s: f[layer] for s, f in found.items()} for layer in layers}
    torch.manual_seed(seed)
    random = networks.create("alexnet-gap", scale="lab")
    vectors["untrained"] = {
        s: deep_features.features(random, split.images) for s, split in world.items()
    }
    for name, of in vectors.items():
        chosen, accuracy[name] = learnt(of, world)
        if name == f"alexnet-gap {LAST}":
            mapper = deep_features.with_svm(trained("alexnet-gap"), chosen.svm, lab.NEW_CLASSES)
            where = localized(mapper, world)
        if name.startswith("alexnet") and name.endswith(LAST):
            rows = {n: balanced(world["train"].labels, n) for n in PER_CLASS}
            curves[name] = {str(n): learnt(of, world, r)[1] for n, r in rows.items()}
    return {"accuracy": accuracy, "curves": curves, "localization": where}


def of_lite0(seed: int) -> dict[str, Any]:
    world = pictures(seed, size=LITE0_SIZE)
    network = trained("lite0")
    found = {
        s: deep_features.by_layer(network, split.images, LITE0_LAYERS, 16)
        for s, split in world.items()
    }
    vectors = {layer: {s: f[layer] for s, f in found.items()} for layer in LITE0_LAYERS}
    vectors["histogram"] = {s: histogram(split.images) for s, split in world.items()}
    accuracy = {}
    for name, of in vectors.items():
        chosen, accuracy[name] = learnt(of, world)
        if name == LAST:
            mapper = deep_features.with_svm(network, chosen.svm, lab.CLASSES)
    return {"accuracy": accuracy, "localization": localized(mapper, world)}


def overlaps(guesses: Tensor, truth: Tensor) -> Tensor:
    pairs = zip(guesses.double(), truth.double(), strict=True)
    return torch.stack([box_iou(g[None], t[None])[0, 0] for g, t in pairs])


def windows(of: dict[str, Tensor], side: float) -> dict[str, Tensor]:
    """Squares of one side around the middles of boxes."""
    middles = {s: (b[:, :2] + b[:, 2:]) / 2 for s, b in of.items()}
    return {s: torch.cat([m - side / 2, m + side / 2], dim=1) for s, m in middles.items()}


def second_look_network() -> str:
    """The network whose SVM is right most often on whole validation pictures, of seed 0."""
    best: dict[str, float] = {}
    world = pictures(0, size=SOURCE, parts=True, new_motifs=True, object_size=SIZES["any size"])
    for name in SECOND_LOOK:
        network = trained(name)
        whole = {s: shrunk(split.images) for s, split in world.items()}
        vectors = {s: deep_features.features(network, images) for s, images in whole.items()}
        best[name] = max(learnt(vectors, world)[0].accuracy.values())
        print(f"second look, {name}: {best[name]:.3f} on validation", flush=True)
    return max(best, key=lambda name: best[name])


def shrunk(images: Tensor) -> Tensor:
    return deep_features.crops(images, torch.zeros(len(images), 4), INPUT)


def of_second_look(name: str, size: str, seed: int) -> dict[str, Any]:
    """Table 4: whole picture, crop by the map's box, crop by the true box, and controls."""
    world = pictures(seed, size=SOURCE, parts=True, new_motifs=True, object_size=SIZES[size])
    network = trained(name)

    def twice(images: dict[str, Tensor]) -> Any:
        vectors = {s: deep_features.features(network, of) for s, of in images.items()}
        return learnt(vectors, world)

    whole = {s: shrunk(split.images) for s, split in world.items()}
    chosen, first = twice(whole)
    accuracy = {"whole": first}
    accuracy["whole, twice the input"] = twice({s: of.images for s, of in world.items()})[1]
    mapper = deep_features.with_svm(network, chosen.svm, lab.NEW_CLASSES)
    truth = {s: torch.cat(split.boxes) for s, split in world.items()}
    # The top class everywhere: in training too nobody tells the map which class to show.
    ours = {
        s: boxes.boxes_from_maps(
            cam.upsample(maps_of(mapper, split, whole[s]).maps[:, 0], SOURCE), 0.2
        ).double()
        for s, split in world.items()
    }
    generator = torch.Generator().manual_seed(seed)
    other = {s: b[torch.randperm(len(b), generator=generator)] for s, b in ours.items()}
    sides = {  # in pixels: of the squares around the maps' boxes, and around the true ones
        key: float((of["train"][:, 2:] - of["train"][:, :2]).amax(dim=1).mean())
        for key, of in (("map", ours), ("truth", truth))
    }
    middle = {s: centre(sides["map"] / SOURCE, SOURCE, len(b)) for s, b in ours.items()}
    even = {"map": windows(ours, sides["map"]), "truth": windows(truth, sides["truth"])}
    ways = {  # boxes, and the size in pixels at which the network is given what they hold
        "map": (ours, INPUT),
        "truth": (truth, INPUT),
        "another's map": (other, INPUT),
        "centre": (middle, INPUT),
        "map, one side": (even["map"], INPUT),
        "truth, one side": (even["truth"], INPUT),
        # The scale of the whole picture: what is around is gone, nothing is enlarged.
        "map, not enlarged": (even["map"], round(sides["map"] * INPUT / SOURCE)),
        "truth, not enlarged": (even["truth"], round(sides["truth"] * INPUT / SOURCE)),
    }
    for way, (of, side) in ways.items():
        cut = {s: deep_features.crops(split.images, of[s], side) for s, split in world.items()}
        accuracy[way] = twice(cut)[1]
    area = (truth["test"][:, 2:] - truth["test"][:, :2]).prod(dim=1) / SOURCE**2
    of_map = (ours["test"][:, 2:] - ours["test"][:, :2]).amax(dim=1) / SOURCE
    fits = {
        "map": overlaps(ours["test"], truth["test"]),
        "another's map": overlaps(other["test"], truth["test"]),
        "map, train": overlaps(ours["train"], truth["train"]),
        "centre": overlaps(middle["test"], truth["test"]),
    }
    return {
        "accuracy": accuracy,
        "boxed": {k: round((v >= 0.5).double().mean().item(), 4) for k, v in fits.items()},
        "area of the true box": round(area.mean().item(), 4),
        "side of the map's square": round(of_map.mean().item(), 4),
        "its deviation": round(of_map.std().item(), 4),
        "one side": {key: round(side / SOURCE, 4) for key, side in sides.items()},
    }


def of_crop_shares(name: str, size: str, seed: int) -> dict[str, Any]:
    """The crop by the map's box at other shares than 20 %; validation accuracy chooses, no box."""
    world = pictures(seed, size=SOURCE, parts=True, new_motifs=True, object_size=SIZES[size])
    network = trained(name)
    whole = {s: shrunk(split.images) for s, split in world.items()}
    chosen, _ = learnt({s: deep_features.features(network, i) for s, i in whole.items()}, world)
    mapper = deep_features.with_svm(network, chosen.svm, lab.NEW_CLASSES)
    maps = {
        s: cam.upsample(maps_of(mapper, split, whole[s]).maps[:, 0], SOURCE)
        for s, split in world.items()
    }
    rows: dict[str, Any] = {}
    for share in CROP_SHARES:
        ours = {s: boxes.boxes_from_maps(of, share).double() for s, of in maps.items()}
        cut = {s: deep_features.crops(of.images, ours[s], INPUT) for s, of in world.items()}
        vectors = {s: deep_features.features(network, images) for s, images in cut.items()}
        again, accuracy = learnt(vectors, world)
        overlap = overlaps(ours["test"], torch.cat(world["test"].boxes))
        rows[str(share)] = {
            "valid": round(max(again.accuracy.values()), 4),
            "test": accuracy,
            "boxed": round((overlap >= 0.5).double().mean().item(), 4),
        }
    return rows | {"chosen": max(rows, key=lambda share: rows[share]["valid"])}


def made(name: str, function: Any, *arguments: Any) -> dict[str, Any]:
    path = WORK / f"deep-features-{name.replace(' ', '-')}.{CODE}.json"
    if not path.exists():
        write(path, {"": function(*arguments)})
        print(name, flush=True)
    figures: dict[str, Any] = json.loads(path.read_text())[""]
    return figures


def parts() -> dict[str, Any]:
    """Each part, made when it is called for."""
    return {
        "new motifs": lambda: {str(s): made(f"motifs {s}", of_new_motifs, s) for s in SEEDS},
        "lite0": lambda: {str(s): made(f"lite0 {s}", of_lite0, s) for s in LITE0_SEEDS},
        "second look": second_looks,
        "crop shares": crop_shares,
    }


def crop_shares() -> dict[str, Any]:
    network: Any = made("network", second_look_network)
    return {
        size: {str(s): made(f"shares {size} {s}", of_crop_shares, network, size, s) for s in SEEDS}
        for size in SIZES
    }


def second_looks() -> dict[str, Any]:
    network: Any = made("network", second_look_network)

    def looks(name: str, prefix: str) -> dict[str, Any]:
        return {
            size: {
                str(s): made(f"{prefix}{size} {s}", of_second_look, name, size, s) for s in SEEDS
            }
            for size in SIZES
        }

    return {"network": network, **looks(network, ""), FITTING: looks(FITTING, f"{FITTING} ")}


def main() -> None:
    wanted = sys.argv[1:] or list(parts())
    if unknown := set(wanted) - set(parts()):
        sys.exit(f"There is no part {', '.join(unknown)}; there are {', '.join(parts())}")
    WORK.mkdir(parents=True, exist_ok=True)
    # A C too large for its features may not have converged; validation judges it as it is.
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = {part: make() for part, make in parts().items() if part in wanted}
    if sys.argv[1:]:
        return
    used = sorted({*NETWORKS, *SECOND_LOOK})
    content = {
        "made by": "study/deep_features.py",
        "settings": settings(),
        "weights": {name: recipes.manifest()[name]["sha256"] for name in used}
        | {"lite0": networks.LITE0_SHA256},
        "versions": {
            "camlib": camlib.__version__,
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
        **found,
    }
    study.RESULTS.mkdir(exist_ok=True)
    write(study.RESULTS / "deep_features.json", content)
    print("camlib/results/deep_features.json")


def settings() -> dict[str, Any]:
    """What the results depend on besides weights and versions."""
    return {
        "world": [lab.VERSION, list(lab.NEW_CLASSES), lab.source_hash()],
        "seeds": list(SEEDS),
        "lite0 seeds": list(LITE0_SEEDS),
        "images": LENGTHS,
        "per class": list(PER_CLASS),
        "costs": list(deep_features.COSTS),
        "lite0 size": LITE0_SIZE,
        "second look": {"source": SOURCE, "input": INPUT, "sizes": list(map(str, SIZES.values()))},
        "crop shares": list(CROP_SHARES),
    }


if __name__ == "__main__":
    main()
