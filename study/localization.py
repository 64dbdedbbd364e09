"""Tables 2 and 3 in the lab, for networks trained with several seeds: camlib/results.

    python study/localization.py          # once study/seeds.py has trained the networks

Settings (share of the maximum, blur, tight and loose) are chosen on validation pictures, for each
network by itself; everything else is measured on test pictures. What is measured of one network is
kept in build/study, so that a run that was stopped goes on.
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
from torchvision.transforms.v2.functional import gaussian_blur

import camlib
from camlib import boxes, cam, evaluation, gradients, lab, metrics, recipes, study
from camlib.cam import CamResult
from camlib.evaluation import Split

TEST, VALID = 1000, 500
# Kept figures are measured again when this file changes. When one of camlib's measures changes,
# delete them: rm build/study/*.json
CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
SIGMAS = (0, 2, 4, 6, 8)  # of the blur of a saliency map, in pixels of 96
ROWS = {  # of Table 2, and the two networks on parts
    **{name: name for name in NAMES if name not in ("alexnet", "vgg16")},
    **{f"backprop on {name}": name for name in ("googlenet", "vgg16", "alexnet")},
}


def rates(errors: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: round(missed.mean().item(), 4) for name, missed in errors.items()}


def blurred(found: CamResult, sigma: int) -> CamResult:
    """Maps smoothed by a Gaussian cut at four standard deviations; as they are for 0."""
    maps, reach = found.maps, 8 * sigma + 1
    # Along rows, then along columns: the same as in one step, and much faster.
    for kernel in ([reach, 1], [1, reach]) if sigma else ():
        maps = gaussian_blur(maps, kernel, [float(sigma)] * 2)
    return found._replace(maps=maps)


def five_guesses(found: CamResult, pictures: Split, tight: float, loose: float) -> float:
    guesses = boxes.five_guesses(
        found.classes[:, :3], cam.upsample(found.maps[:, :3], 96), tight, loose
    )
    return metrics.localization_error(*guesses, pictures.targets).mean().item()


def measure(row: str, seed: int, valid: Split, test: Split) -> dict[str, Any]:
    """The figures of one row of Table 2, for the network of one seed."""
    network = trained(ROWS[row], seed).to(memory_format=torch.channels_last)
    backprop = row.startswith("backprop")
    method: Any = gradients.backprop_saliency if backprop else cam.class_activation_maps
    options = {"check": False} if row.startswith("googlenet-gmp") else {}
    heuristics = row == "googlenet-gap"
    of_valid = evaluation.map_split(
        network, valid, method, top=evaluation.TOP if heuristics else 0, **options
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
    chosen = metrics.box_accuracy(
        metrics.level_ious(cam.upsample(of_valid.maps[:, -1], 96), valid.boxes)
    ).argmax()
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
    if heuristics:
        pairs = [(b, a) for a, b in combinations(evaluation.SHARES, 2)]
        tight, loose = min(pairs, key=lambda pair: five_guesses(of_valid, valid, *pair))
        plain = evaluation.localization_errors(of_valid, valid.targets, share)
        figures["heuristics"] = {
            "tight": tight,
            "loose": loose,
            "valid top-5": five_guesses(of_valid, valid, tight, loose),
            "test top-5": five_guesses(found, test, tight, loose),
            "valid top-5 without": rates(plain)["top-5"],
            "test top-5 without": figures["at the chosen threshold"]["top-5"],
        }
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


def main() -> None:
    wanted = [int(word) for word in sys.argv[1:]] or seeds_there()
    if not wanted:
        sys.exit("No seed has all its networks yet. Run: python study/seeds.py")
    pictures = {
        parts: [
            evaluation.split(lab.StickerWorld(split, parts=parts), length)
            for split, length in (("valid", VALID), ("test", TEST))
        ]
        for parts in (False, True)
    }
    rows: dict[str, dict[str, Any]] = {row: {} for row in ROWS}
    for seed in (0, *wanted):
        for row, name in ROWS.items():
            if row in ON_PARTS and not weights(name, seed).exists():
                continue
            path = weights(name, seed).with_suffix(f".{row.replace(' ', '-')}.{CODE}.json")
            if not path.exists():
                began = time.perf_counter()
                figures = measure(row, seed, *pictures[row in ON_PARTS])
                path.write_text(json.dumps(figures))
                print(f"{row}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
            rows[row][str(seed)] = json.loads(path.read_text())
    content = {
        "made by": "study/seeds.py, then study/localization.py",
        "seeds": wanted,
        "images": {"test": TEST, "valid": VALID},
        "weights shipped": {
            name: recipes.manifest()[name]["sha256"] for name in NAMES if name not in ON_PARTS
        },
        "recipes": {name: made_by(name) for name in NAMES},
        "versions": {
            "camlib": camlib.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
        "device": "GPU" if torch.cuda.is_available() else "CPU",
        # Of the networks that camlib ships: not among the seeds, but to be compared with them.
        "shipped": {row: rows[row].pop("0") for row in ROWS if row not in ON_PARTS},
        "rows": rows,
    }
    study.RESULTS.mkdir(exist_ok=True)
    new = study.RESULTS / "localization.new"
    new.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(new, study.RESULTS / "localization.json")
    print(f"{len(wanted)} seeds, {len(rows)} rows: camlib/results/localization.json")


if __name__ == "__main__":
    main()
