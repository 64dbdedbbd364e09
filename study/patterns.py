"""What section 4.2 and section 5 of the paper look like where the truth is known.

    python study/patterns.py            # what is missing, then camlib/results/patterns.json
    python study/patterns.py scenes     # only some parts: scenes, concepts, patches, units

C, shares of the maximum and the centre box are chosen on validation pictures; all else is measured
on test pictures. Each part is kept in build/study and made again when the code it depends on
changes.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from localization import write
from scipy import stats
from seeds import WORK
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torchvision.ops import masks_to_boxes

import camlib
from camlib import (
    boxes,
    cam,
    deep_features,
    evaluation,
    lab,
    metrics,
    networks,
    patterns,
    recipes,
    study,
    training,
    units,
)

SEEDS = (0, 1, 2, 3, 4)  # of the compositions of scenes and of their pictures
PAIRS = (0, 1, 2, 3, 4, 5, 6, 7)  # of the motifs of a concept and of its pictures
NETWORK = "alexnet-gap"
SCENES = {"train": 800, "valid": 200, "test": 400}
HIGH = (0.2, 0.5)  # shares of the maximum above which a map is high
# The pool of negatives: each confusion is rare in it, as in pictures that one finds.
POOL = {"apart": 0.05, "first only": 0.05, "second only": 0.05, "neither": 0.85}
POSITIVES, POOLED, FIRST, ADDED, ROUNDS = 150, 1000, 150, 75, 3
OF_EACH = {"valid": 15, "test": 60}  # pictures of each confusion, and four times as many positive
PATCHES = {"train": 150, "valid": 60, "test": 150}
UNITS = 600  # pictures of the validation and of the test split
UNIT_NETWORKS = ("alexnet-gap", "vgg16-gap", "googlenet-gap")
REMOVED = (0, 1, 2, 4, 8, 16, 32, 64)
TOP = 25
CODE = {
    "scenes": (cam, deep_features, lab, networks, patterns),
    "concepts": (boxes, cam, deep_features, lab, networks, patterns),
    "patches": (boxes, cam, deep_features, evaluation, lab, metrics, networks, patterns),
    "units": (evaluation, lab, networks, training, units),
}


def interval(values: Any) -> list[float]:
    return [round(v, 4) for v in metrics.bootstrap(torch.as_tensor(values).double())]


def lab_network() -> nn.Module:
    network = networks.create(NETWORK, pretrained=True, scale="lab")
    return network.to(memory_format=torch.channels_last)


def maps_of(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """At image size, (n, h, w)."""
    found = [
        cam.class_activation_maps(network, training.normalise(some, network), of[:, None]).maps
        for some, of in zip(images.split(25), classes.split(25), strict=True)
    ]
    return cam.upsample(torch.cat(found)[:, 0], images.shape[-1])


# scenes


def of_scenes(seed: int) -> dict[str, Any]:
    """Which motifs lie in the high region of the map of their picture's category."""
    network = lab_network()
    sets = {split: patterns.scenes(split, n, seed) for split, n in SCENES.items()}
    vectors = {split: deep_features.features(network, s.images) for split, s in sets.items()}
    train, valid = ((vectors[split], sets[split].labels) for split in ("train", "valid"))
    chosen = deep_features.choose(train, valid)
    test = sets["test"]
    answers = torch.from_numpy(chosen.svm.predict(vectors["test"].numpy()))
    told = {split: s.motifs.float() for split, s in sets.items()}
    ceiling = deep_features.choose(
        *((told[split], sets[split].labels) for split in ("train", "valid"))
    )
    with_svm = deep_features.with_svm(network, chosen.svm, patterns.CATEGORIES)
    maps = maps_of(with_svm, test.images, test.labels)
    # A place that knows nothing of the picture: the map of another one of the category.
    others = maps.roll(4, dims=0)
    chances, kinds = patterns.composition(seed)
    frequency = torch.stack([test.motifs[test.labels == c].double().mean(0) for c in range(4)])
    seen = [sets["train"].motifs[sets["train"].labels == c].double() for c in range(4)]
    inside = torch.stack([(m.sum(0) + 0.5) / (len(m) + 1) for m in seen])
    outside = torch.stack(
        [
            (sum(m.sum(0) for m in seen[:c] + seen[c + 1 :]) + 0.5)
            / (sum(len(m) for m in seen[:c] + seen[c + 1 :]) + 1)
            for c in range(4)
        ]
    )
    speaks = (inside / outside).log()
    at_top = {
        name: test.where.flatten(1).gather(1, of.flatten(1).argmax(dim=1, keepdim=True))[:, 0]
        for name, of in (("map", maps), ("another map", others))
    }
    figures: dict[str, Any] = {
        "C": chosen.cost,
        "accuracy": interval((answers == test.labels).double()),
        "accuracy if the motifs are told": round(
            float(ceiling.svm.score(told["test"].numpy(), test.labels.numpy())), 4
        ),
        "kinds": {},
    }
    there = test.motifs
    shares = {
        (name, high): patterns.covered(of, test.where, high)
        for name, of in (("map", maps), ("another map", others))
        for high in HIGH
    }
    own_common = torch.tensor(
        [[k == "own, common" and chances[c, m] > 0 for m, k in enumerate(kinds)] for c in range(4)]
    )
    with_common = (there & own_common[test.labels]).any(dim=1)
    for kind in patterns.KINDS:
        is_kind = torch.tensor([k == kind for k in kinds])
        chosen_ones = there & is_kind & (chances[test.labels] > 0)
        row: dict[str, Any] = {"stickers": int(chosen_ones.sum())}
        row["frequency"] = round(float((frequency * is_kind)[chances * is_kind > 0].mean()), 4)
        for (name, high), share in shares.items():
            hit = (share >= 0.5)[chosen_ones].double()
            row[f"high at {high}, {name}"] = round(hit.mean().item(), 4)
        for name, top in at_top.items():
            hit = (top[:, None] == torch.arange(16))[chosen_ones].double()
            row[f"highest place, {name}"] = round(hit.mean().item(), 4)
        alone = chosen_ones & ~with_common[:, None]
        if alone.any():
            row["highest place, without the common one"] = round(
                (at_top["map"][:, None] == torch.arange(16))[alone].double().mean().item(), 4
            )
        areas = torch.stack([(test.where == m).double().mean((1, 2)) for m in range(16)], dim=1)
        row["area"] = round(areas[chosen_ones].mean().item(), 4)
        figures["kinds"][kind] = row
    rates, frequencies, tell = [], [], []
    for c in range(4):
        for m in range(16):
            of = there[:, m] & (test.labels == c)
            if int(of.sum()) >= 10:
                rates.append((shares["map", 0.5][of, m] >= 0.5).double().mean().item())
                frequencies.append(frequency[c, m].item())
                tell.append(speaks[c, m].item())
    figures["rank correlation with frequency"] = round(
        float(stats.spearmanr(rates, frequencies).statistic), 4
    )
    figures["rank correlation with how much it tells"] = round(
        float(stats.spearmanr(rates, tell).statistic), 4
    )
    figures["pairs of category and motif"] = len(rates)
    figures["highest place on no sticker"] = round((at_top["map"] < 0).double().mean().item(), 4)
    print(f"scenes {seed}: {figures['accuracy']}", flush=True)
    return figures


# concepts


def concept_of(seed: int) -> tuple[str, str]:
    first, second = np.random.default_rng(seed).permutation(len(lab.CLASSES))[:2]
    return lab.CLASSES[first], lab.CLASSES[second]


def of_concepts(seed: int) -> dict[str, Any]:
    """One motif on another, from pictures with and without it; negatives mined or drawn."""
    network = lab_network()
    first, second = concept_of(seed)
    drawn = np.random.default_rng(seed).choice(list(POOL), POOLED, p=list(POOL.values())).tolist()
    wanted = {
        split: ["on"] * 4 * n + [k for k in patterns.CONCEPTS[1:] for _ in range(n)]
        for split, n in OF_EACH.items()
    }
    sets = {
        "positive": patterns.concepts("train", ["on"] * POSITIVES, first, second, 2 * seed),
        "pool": patterns.concepts("train", drawn, first, second, 2 * seed + 1),
    }
    for split, kinds in wanted.items():
        sets[split] = patterns.concepts(split, kinds, first, second, 2 * seed)
    vectors = {name: deep_features.features(network, s.images) for name, s in sets.items()}
    valid = vectors["valid"], (sets["valid"].labels == 0).long()
    test, positive = sets["test"], sets["test"].labels == 0
    on_it = (test.where == lab.CLASSES.index(first)) | (test.where == lab.CLASSES.index(second))
    true_boxes = masks_to_boxes(on_it[positive]) + torch.tensor([0, 0, 1, 1])
    chance = torch.Generator().manual_seed(seed)
    start = torch.randperm(POOLED, generator=chance)[:FIRST]
    figures: dict[str, Any] = {"first": first, "second": second}
    for way in ("mined", "drawn"):
        used, rows = start, []
        for step in range(ROUNDS + 1):
            both = torch.cat([vectors["positive"], vectors["pool"][used]])
            labels = torch.cat([torch.ones(POSITIVES), torch.zeros(len(used))]).long()
            chosen = deep_features.choose((both, labels), valid)
            scores = torch.from_numpy(chosen.svm.decision_function(vectors["test"].numpy()))
            row: dict[str, Any] = {"C": chosen.cost, "negatives": len(used), "AUC": {}}
            row["kinds"] = {k: sum(drawn[i] == k for i in used.tolist()) for k in POOL}
            for k, kind in enumerate(patterns.CONCEPTS[1:], 1):
                two = positive | (test.labels == k)
                auc = roc_auc_score(positive[two].numpy(), scores[two].numpy())
                row["AUC"][kind] = round(float(auc), 4)
            if step in (0, ROUNDS):
                with_svm = deep_features.with_svm(network, chosen.svm, ("concept",))
                classes = torch.zeros(int(positive.sum()), dtype=torch.int64)
                maps = maps_of(with_svm, test.images[positive], classes)
                guesses = boxes.boxes_from_maps(maps, 0.2)
                row["IoU at 20 %"] = interval(overlap(guesses, true_boxes))
                hits = metrics.pointing_game(maps, on_it[positive])
                row["pointing game"] = interval(hits)
                elsewhere = metrics.pointing_game(maps.roll(1, dims=0), on_it[positive])
                row["pointing game, another map"] = interval(elsewhere)
            rows.append(row)
            pool = torch.from_numpy(chosen.svm.decision_function(vectors["pool"].numpy()))
            if way == "drawn":  # in a random order, and not by their scores
                pool = torch.rand(POOLED, generator=chance)
            used = torch.cat([used, patterns.hard_negatives(pool, used, ADDED)])
        figures[way] = rows
    print(f"concepts {seed}: {figures['mined'][-1]['AUC']}", flush=True)
    return figures


def overlap(guesses: Tensor, true: Tensor) -> Tensor:
    """IoU of each box with its own true one; 0 where there is no box."""
    found = torch.zeros(len(guesses), dtype=torch.float64)
    for i, (guess, box) in enumerate(zip(guesses, true, strict=True)):
        if guess.any():
            found[i] = boxes.iou(guess.float(), box.float())
    return found


# text and faces


def of_patches(what: str) -> dict[str, Any]:
    """Detectors of text, or of faces, that were told yes or no; negatives with and without decoys.

    The same positives for both; each chooses C on validation pictures of its own kind.
    """
    network = networks.create("lite0")
    sets = {split: patterns.patched(what, split, n) for split, n in PATCHES.items()}
    kinds = ("positive", "negative", "bare")
    vectors = {
        (split, kind): deep_features.features(network, getattr(s, kind), batch=20)
        for split, s in sets.items()
        for kind in kinds
    }
    print(f"{what}: features", flush=True)

    def both(split: str, negatives: str) -> tuple[Tensor, Tensor]:
        pair = torch.cat([vectors[split, "positive"], vectors[split, negatives]])
        return pair, torch.arange(2).flip(0).repeat_interleave(len(pair) // 2)

    test = sets["test"]
    true = {
        split: masks_to_boxes(sets[split].masks) + torch.tensor([0, 0, 1, 1])
        for split in ("valid", "test")
    }
    sides = [side / 20 for side in range(2, 21)]
    side = max(sides, key=lambda s: float(overlap(centred(s, true["valid"]), true["valid"]).mean()))
    figures: dict[str, Any] = {
        "centre box": {
            "side": side,
            "IoU": interval(overlap(centred(side, true["test"]), true["test"])),
        },
        "PxAP of a centred Gaussian": round(
            metrics.px_ap(gaussian(len(test.masks)), test.masks), 4
        ),
        "PxAP of a blank map": round(metrics.px_ap(torch.zeros(test.masks.shape), test.masks), 4),
        "area": round(test.masks.double().mean().item(), 4),
    }
    for negatives in ("bare", "negative"):
        chosen = deep_features.choose(both("train", negatives), both("valid", negatives))
        scores = {
            kind: torch.from_numpy(chosen.svm.decision_function(vectors["test", kind].numpy()))
            for kind in kinds
        }
        row: dict[str, Any] = {"C": chosen.cost}
        for against in ("bare", "negative"):
            right = torch.cat([scores["positive"] > 0, scores[against] <= 0]).double()
            row[f"accuracy against {against}"] = interval(right)
        row["says yes"] = {k: interval((s > 0).double()) for k, s in scores.items()}
        row["higher than with a decoy in its place"] = interval(
            (scores["positive"] > scores["negative"]).double()
        )
        row["says yes to decoys"] = {
            k: interval(
                (
                    scores["negative"][[i for i, p in enumerate(test.kinds) if p[1] == k]] > 0
                ).double()
            )
            for k in sorted({pair[1] for pair in test.kinds})
        }
        row["accuracy by photograph"] = {}
        for name in patterns.SOURCES["test"]:
            own = torch.tensor([source == name for source in test.sources])
            right = torch.cat([scores["positive"][own] > 0, scores["negative"][own] <= 0])
            row["accuracy by photograph"][name] = interval(right.double())
        with_svm = deep_features.with_svm(network, chosen.svm, (what,))
        maps = {
            split: maps_of(with_svm, sets[split].positive, torch.zeros(PATCHES[split]).long())
            for split in ("valid", "test")
        }
        own_mean, other_mean = (
            (maps["test"] * mask).sum((1, 2)) / mask.sum((1, 2))
            for mask in (test.masks, test.others)
        )
        row["map higher on it than on the decoy"] = interval((own_mean > other_mean).double())
        row["pointing game"] = interval(metrics.pointing_game(maps["test"], test.masks))
        row["pointing game, on the decoy"] = interval(
            metrics.pointing_game(maps["test"], test.others)
        )
        row["pointing game, another map"] = interval(
            metrics.pointing_game(maps["test"].roll(1, dims=0), test.masks)
        )
        row["PxAP"] = round(metrics.px_ap(maps["test"], test.masks), 4)
        on_valid = {
            s: overlap(boxes.boxes_from_maps(maps["valid"], s), true["valid"]).mean().item()
            for s in evaluation.SHARES
        }
        share = max(on_valid, key=lambda s: on_valid[s])
        row["share"] = share
        for name, cut in (("at 20 %", 0.2), ("at the chosen share", share)):
            ious = overlap(boxes.boxes_from_maps(maps["test"], cut), true["test"])
            row[f"IoU {name}"] = interval(ious)
            row[f"IoU of 0.5 {name}"] = interval((ious >= 0.5).double())
        figures[{"bare": "bare negatives", "negative": "with decoys"}[negatives]] = row
    print(f"{what}: {figures['with decoys']['accuracy against negative']}", flush=True)
    return figures


def centred(side: float, true: Tensor) -> Tensor:
    half = 112 * side
    return torch.tensor([112 - half, 112 - half, 112 + half, 112 + half]).expand(len(true), 4)


def gaussian(n: int, sigma: float = 50.0) -> Tensor:
    line = torch.exp(-((torch.arange(224) - 111.5) ** 2) / (2 * sigma**2))
    return (line[:, None] * line).expand(n, -1, -1)


# units


def of_units(name: str) -> dict[str, Any]:
    """What removing units in several orders does to their class and to the others."""
    network = networks.create(name, pretrained=True, scale="lab")
    network.to(memory_format=torch.channels_last)
    valid, test = (evaluation.split(lab.StickerWorld(s), UNITS) for s in ("valid", "test"))
    with torch.no_grad():
        features = torch.cat(
            [
                network.forward_features(training.normalise(i, network))
                for i in test.images.split(50)
            ]
        )
    pooled, of_valid = features.mean((2, 3)), deep_features.features(network, valid.images)
    layer: Any = network.get_classifier()
    weight, bias = layer.weight.detach(), layer.bias.detach()
    classes = range(len(lab.CLASSES))
    fills = {"zero": torch.zeros(weight.shape[1]), "mean": of_valid.mean(dim=0)}
    figures: dict[str, Any] = {"curves": {}}
    for fill, values in fills.items():
        for order in units.ORDERS:
            ranked = units.ranking(weight, of_valid, valid.labels, order)
            curve: dict[str, list[list[float]]] = {"own": [], "others": [], "score": []}
            for number in REMOVED:
                own, others, score = [], [], []
                for c in classes:
                    logits = units.ablated(pooled, weight, bias, ranked[c, :number], values)
                    right, mine = logits.argmax(dim=1) == test.labels, test.labels == c
                    own.append(right[mine].double())
                    others.append(right[~mine].double().mean())
                    score.append(logits[mine, c].double())
                curve["own"].append(interval(torch.cat(own)))
                curve["others"].append([round(v, 4) for v in study.mean_interval(others)])
                curve["score"].append(interval(torch.cat(score)))
            figures["curves"][f"{order}, {fill}"] = curve
    # Whether the orders agree, and what the first units of each respond to.
    ranked = {o: units.ranking(weight, of_valid, valid.labels, o)[:, :10] for o in units.ORDERS}
    pairs = zip(ranked["weight"].tolist(), ranked["contribution"].tolist(), strict=True)
    figures["of ten, in both orders"] = [len(set(a) & set(b)) for a, b in pairs]
    means = torch.stack([of_valid[valid.labels == c].mean(0) for c in classes])
    figures["of ten, fires most for another class"] = [
        int((means.argmax(0)[ranked["weight"][c]] != c).sum()) for c in classes
    ]
    figures["classes for which a unit is among ten"] = (
        torch.bincount(ranked["weight"].flatten(), minlength=weight.shape[1]).bincount().tolist()
    )
    purity, chance = [], torch.randperm(UNITS, generator=torch.Generator().manual_seed(0))
    for labels in (test.labels, test.labels[chance]):
        tops = [units.top_activations(features, k, TOP)[:, 0] for k in range(weight.shape[1])]
        purity.append(torch.stack([labels[t].bincount().max() / TOP for t in tops]))
    figures["top activations of one class"] = interval(purity[0])
    figures["top activations of one class, by chance"] = interval(purity[1])
    figures["units that never fire"] = int((features.amax((0, 2, 3)) <= 0).sum())
    figures["zero cells"] = round((features <= 0).double().mean().item(), 4)
    inputs = training.normalise(test.images[:60], network)
    field = torch.cat([units.receptive_field(network, some) for some in inputs.split(20)])
    figures["field"] = {
        "all": units.extent(field.sum(0)),
        "95 %": units.extent(field.mean(0), 0.95),
        "80 %": units.extent(field.mean(0), 0.8),
    }
    print(f"{name}: {figures['of ten, in both orders']}", flush=True)
    return figures


PARTS: dict[str, tuple[Callable[[Any], dict[str, Any]], tuple[Any, ...]]] = {
    "scenes": (of_scenes, SEEDS),
    "concepts": (of_concepts, PAIRS),
    "patches": (of_patches, ("text", "face")),
    "units": (of_units, UNIT_NETWORKS),
}


def kept(part: str, name: Any) -> Path:
    """Where a part is kept; the name changes with the code and the weights it depends on."""
    files = [Path(__file__), *(Path(str(module.__file__)) for module in CODE[part])]
    of_network = {"patches": [], "units": [name]}.get(part, [NETWORK])
    files += [networks.WEIGHTS / f"{n}.safetensors" for n in of_network]
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]
    return WORK / f"patterns-{part}-{name}.{content}.json"


def made(part: str, name: Any) -> dict[str, Any]:
    path = kept(part, name)
    if not path.exists():
        write(path, PARTS[part][0](name))
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def main() -> None:
    wanted = sys.argv[1:] or PARTS
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    found = {
        part: {str(name): made(part, name) for name in names}
        for part, (_, names) in PARTS.items()
        if part in wanted
    }
    if sys.argv[1:]:
        return
    used = (NETWORK, *UNIT_NETWORKS)
    content = {
        "made by": "study/patterns.py",
        "world": {"version": lab.VERSION, "photographs": lab.source_hash()},
        "weights": {name: recipes.manifest()[name]["sha256"] for name in used},
        "settings": {
            "seeds": SEEDS,
            "pairs": PAIRS,
            "scenes": SCENES,
            "pool": POOL,
            "positives": POSITIVES,
            "pooled": POOLED,
            "first": FIRST,
            "added": ADDED,
            "rounds": ROUNDS,
            "of each": OF_EACH,
            "patches": PATCHES,
            "units": UNITS,
            "removed": REMOVED,
            "top": TOP,
        },
        "versions": {
            "camlib": camlib.__version__,
            "python": platform.python_version(),
            "scikit-learn": sklearn.__version__,
            "torch": torch.__version__.split("+")[0],
        },
        **found,
    }
    study.RESULTS.mkdir(exist_ok=True)
    write(study.RESULTS / "patterns.json", content)
    print("camlib/results/patterns.json")


if __name__ == "__main__":
    main()
