"""Tables 2 and 3 in the lab, for networks trained with several seeds: camlib/results.

    python study/localization.py          # once study/seeds.py has trained the networks
    python study/localization.py 1        # only measure this seed (another process the others)

Settings (share of the maximum, blur, tight and loose) are chosen on validation pictures, for each
network by itself; everything else is measured on test pictures. What is measured of one network is
kept in build/study, so that a run that was stopped goes on. "At 20 %" stands for the paper's rule,
on saliency without a blur.
"""

import hashlib
import json
import os
import platform
import sys
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
import torchvision
from seeds import NAMES, ON_PARTS, WORK, made_by, trained, weights

import camlib
from camlib import boxes, cam, evaluation, gradients, lab, metrics, networks, recipes, study
from camlib.cam import CamResult
from camlib.evaluation import Split

TEST, VALID = 1000, 500
# Kept figures are measured again when one of these files changes.
CODE = hashlib.sha256(
    b"".join(
        Path(module.__file__).read_bytes()
        for module in (sys.modules[__name__], boxes, cam, evaluation, gradients, metrics)
        if module.__file__
    )
).hexdigest()[:8]
SIGMAS = (0, 2, 4, 6, 8)  # of the blur of a saliency map, in pixels of 96
ROWS = {  # of Table 2, and the two networks on parts
    **{name: name for name in NAMES if name not in ("alexnet", "vgg16")},
    **{f"backprop on {name}": name for name in ("googlenet", "vgg16", "alexnet")},
}


def rates(errors: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: round(missed.mean().item(), 4) for name, missed in errors.items()}


def blurred(found: CamResult, sigma: int) -> CamResult:
    return found._replace(maps=gradients.smoothed(found.maps, sigma))


def hits(found: CamResult, pictures: Split) -> torch.Tensor:
    """Whether each guess is right when cut at each share, bool (len(SHARES), n, M)."""
    maps = cam.upsample(found.maps, 96)
    of_shares = []
    for share in evaluation.SHARES:
        guesses = boxes.boxes_from_maps(maps, share)
        columns = [
            metrics.localization_error(found.classes[:, [m]], guesses[:, [m]], pictures.targets)
            for m in range(found.classes.shape[1])
        ]
        of_shares.append(torch.stack(columns, dim=1) == 0)
    return torch.stack(of_shares)


def heuristics(of_valid: CamResult, found: CamResult, valid: Split, test: Split) -> dict[str, Any]:
    """The five guesses against one share for all five classes; both chosen on validation data.

    The figures on validation data are the best of many, so they flatter.
    """
    right = hits(of_valid, valid)
    plain = 1 - right[:, :, : evaluation.TOP].any(dim=2).double().mean(dim=1)
    with_two = {}
    for loose, tight in combinations(range(len(evaluation.SHARES)), 2):
        five = torch.cat([right[tight, :, :2], right[loose, :, :3]], dim=1)
        with_two[tight, loose] = 1 - five.any(dim=1).double().mean().item()
    pair = min(with_two, key=lambda pair: with_two[pair])
    tight_share, loose_share = (evaluation.SHARES[i] for i in pair)
    share = evaluation.best_share(plain)
    guesses = boxes.five_guesses(
        found.classes[:, :3], cam.upsample(found.maps[:, :3], 96), tight_share, loose_share
    )
    return {
        "tight": tight_share,
        "loose": loose_share,
        "valid top-5": with_two[pair],
        "test top-5": metrics.localization_error(*guesses, test.targets).mean().item(),
        "threshold without": share,
        "valid top-5 without": plain.min().item(),
        "test top-5 without": rates(evaluation.localization_errors(found, test.targets, share))[
            "top-5"
        ],
    }


def measure(row: str, seed: int, valid: Split, test: Split) -> dict[str, Any]:
    """The figures of one row of Table 2, for the network of one seed."""
    network = trained(ROWS[row], seed).to(memory_format=torch.channels_last)
    backprop = row.startswith("backprop")
    method: Any = gradients.backprop_saliency if backprop else cam.class_activation_maps
    options = {"check": False} if row.startswith("googlenet-gmp") else {}
    of_table_3 = row == "googlenet-gap"
    of_valid = evaluation.map_split(
        network, valid, method, top=evaluation.TOP if of_table_3 else 0, **options
    )
    found = evaluation.map_split(network, test, method, **options)
    sigma = 0
    if backprop:
        curves = {s: evaluation.error_curve(blurred(of_valid, s), valid.targets) for s in SIGMAS}
        sigma = min(SIGMAS, key=lambda s: float(curves[s].min()))
        curve = curves[sigma]
    else:
        curve = evaluation.error_curve(of_valid, valid.targets)
    of_valid, smooth = blurred(of_valid, sigma), blurred(found, sigma)
    share = evaluation.best_share(curve)
    known, masks = cam.upsample(smooth.maps[:, -1], 96), test.masks
    ious = metrics.level_ious(known, test.boxes)
    on_valid = metrics.box_accuracy(
        metrics.level_ious(cam.upsample(of_valid.maps[:, -1], 96), valid.boxes)
    )
    highest = (on_valid == on_valid.max()).nonzero().flatten()
    chosen = highest[len(highest) // 2]  # of level ones the middle one, as for the share
    kinds = Counter(evaluation.failure_kinds(smooth, test.targets, share))
    figures: dict[str, Any] = {
        "classification": rates(
            {f"top-{k}": metrics.top_k_error(found.logits, test.labels, k) for k in (1, 5)}
        ),
        "threshold": share,
        "at 20 %": rates(evaluation.localization_errors(found, test.targets, 0.2)),
        "at the chosen threshold": rates(
            evaluation.localization_errors(smooth, test.targets, share)
        ),
        "MaxBoxAcc": metrics.box_accuracy(ious).max().item(),
        "BoxAcc": metrics.box_accuracy(ious)[chosen].item(),
        "MaxBoxAccV2": metrics.max_box_acc_v2(metrics.level_ious(known, test.boxes, "all")),
        "PxAP": metrics.px_ap(known, masks),
        "pointing game": metrics.pointing_game(known, masks).mean().item(),
        "kinds": {kind: kinds[kind] / len(test.labels) for kind in evaluation.KINDS},
    }
    if backprop:
        figures["sigma"] = sigma
    else:
        covered = metrics.extent(known, masks, evaluation.SHARES)
        figures["extent"] = extent_figures(covered)
    if row in ON_PARTS:
        telling = torch.stack([torch.as_tensor(target["parts"][0]) for target in test.targets])
        figures["on the part"] = {
            **extent_figures(metrics.extent(known, telling, evaluation.SHARES)),
            "PxAP": metrics.px_ap(known, telling),
            "pointing game": metrics.pointing_game(known, telling).mean().item(),
        }
    if of_table_3:
        figures["heuristics"] = heuristics(of_valid, found, valid, test)
    return figures


def extent_figures(covered: tuple[torch.Tensor, torch.Tensor]) -> dict[str, list[float]]:
    names = ("recall", "precision")
    return {
        name: [round(v, 4) for v in values.mean(dim=0).tolist()]
        for name, values in zip(names, covered, strict=True)
    }


def seeds_there() -> list[int]:
    """Seeds of which all networks of Table 2 have been trained."""
    found = {int(path.stem.split("-")[-2]) for path in WORK.glob("*.safetensors")}
    needed = [name for name in NAMES if name not in ON_PARTS]
    return sorted(s for s in found if all(weights(name, s).exists() for name in needed))


def kept(row: str, seed: int) -> Path:
    """Where the figures of a row are kept; the name changes with the weights and the code."""
    name = ROWS[row]
    path = networks.WEIGHTS / f"{name}.safetensors" if seed == 0 else weights(name, seed)
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return WORK / f"{row.replace(' ', '-')}.{seed}.{content}.{CODE}.json"


def main() -> None:
    there = seeds_there()
    only = [int(word) for word in sys.argv[1:]]
    for seed in only or there or [None]:
        if seed not in (0, *there):
            sys.exit("Not all networks are there yet. Run: python study/seeds.py")
    pictures = {
        parts: [
            evaluation.split(lab.StickerWorld(split, parts=parts), length)
            for split, length in (("valid", VALID), ("test", TEST))
        ]
        for parts in (False, True)
    }
    rows: dict[str, dict[str, Any]] = {row: {} for row in ROWS}
    for seed in only or (0, *there):
        for row, name in ROWS.items():
            if row in ON_PARTS and (seed == 0 or not weights(name, seed).exists()):
                continue
            path = kept(row, seed)
            if not path.exists():
                began = time.perf_counter()
                write(path, measure(row, seed, *pictures[row in ON_PARTS]))
                print(f"{row}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
            rows[row][str(seed)] = json.loads(path.read_text())
    if only:
        return
    content = {
        "made by": "study/seeds.py, then study/localization.py",
        "seeds": there,
        "images": {"test": TEST, "valid": VALID},
        "weights shipped": {
            name: recipes.manifest()[name]["sha256"] for name in NAMES if name not in ON_PARTS
        },
        "recipes": {name: made_by(name) for name in NAMES},
        "versions of the last run": {
            "camlib": camlib.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
        # Of the networks that camlib ships: not among the seeds, but to be compared with them.
        "shipped": {row: rows[row].pop("0") for row in ROWS if row not in ON_PARTS},
        "rows": rows,
    }
    study.RESULTS.mkdir(exist_ok=True)
    write(study.RESULTS / "localization.json", content)
    print(f"{len(there)} seeds, {len(rows)} rows: camlib/results/localization.json")


def write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(new, path)


if __name__ == "__main__":
    main()
