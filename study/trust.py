"""Maps of chapters 3, 9 and 10 side by side, and what randomisation does to them.

    python study/trust.py             # what is missing, then camlib/results/trust.json
    python study/trust.py methods     # only some parts: methods, sanity, labels, cost

Settings (share of the maximum, blur) are chosen on validation pictures; all else is measured on
test pictures. Each part is kept in build/study and made again when the code it depends on changes.
"""

import copy
import hashlib
import importlib.metadata
import json
import platform
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import captum
import pytorch_grad_cam as other
import torch
import torchvision
from captum.attr import GuidedBackprop
from localization import write
from pytorch_grad_cam.ablation_layer import AblationLayerVit
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from seeds import WORK
from torch import Tensor, nn

import camlib
from camlib import (
    boxes,
    cam,
    cost,
    evaluation,
    faithfulness,
    gradients,
    lab,
    metrics,
    networks,
    recipes,
    sanity,
    study,
    training,
)
from camlib.cam import CamResult
from camlib.evaluation import Split

TEST, VALID, SANITY = 200, 200, 100
STEPS = 16  # of a deletion
BLUR = 6.0  # sigma of the fill, in pixels of 96: no motif is left
SIGMAS = (2, 4, 6, 8, 10, 12)  # of the blur of a saliency map, in pixels
SEEDS = (0, 1)  # of a randomisation
LAYERS = {"googlenet-gap": "features", "vgg16": "features.conv5_3", "vit": "blocks.3.norm1"}
ELSEWHERE = {
    "Grad-CAM++": other.GradCAMPlusPlus,
    "XGrad-CAM": other.XGradCAM,
    "Score-CAM": other.ScoreCAM,
    "Ablation-CAM": other.AblationCAM,
    "Eigen-CAM": other.EigenCAM,
}
RANDOMISED = {  # from the output down
    "alexnet-gap": [
        "classifier",
        "features.cam_conv1",
        *(f"features.conv{i}" for i in (5, 4, 3, 2, 1)),
    ],
    "vgg16": [
        "classifier",
        "head.5",
        "head.2",
        *(f"features.conv{b}_{i}" for b in (5, 4, 3) for i in (3, 2, 1)),
        *(f"features.conv{b}_{i}" for b in (2, 1) for i in (2, 1)),
    ],
}
# Enough passes over few pictures to learn their labels by heart, right or random.
BY_HEART = replace(
    recipes.MAKINGS["alexnet-gap-scratch"].recipe,
    epochs=60,
    shift=0,
    flip=False,
    weight_decay=0.0,
)
BY_HEART_IMAGES = 1000
_MAPS = (cam, evaluation, gradients, lab, metrics, networks, training)
CODE = {  # what the figures of a part depend on, besides this file and the weights
    "methods": (*_MAPS, boxes, faithfulness),
    "sanity": (*_MAPS, faithfulness, sanity),
    "labels": (*_MAPS, faithfulness, recipes, sanity),
    "cost": (*_MAPS, cost),
}

Map = Callable[[nn.Module, Tensor, Tensor], Tensor]  # network, inputs, classes (N,) -> (N, h, w)


# methods


def tokens_to_places(tokens: Tensor) -> Tensor:
    """(N, 145, K), the class token first -> (N, K, 12, 12)."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (12, 12))


def of_layer(function: Callable[..., CamResult], layer: str) -> Map:
    reshape = tokens_to_places if layer.startswith("blocks") else None
    return lambda network, inputs, classes: function(
        network, inputs, layer, classes[:, None], reshape=reshape
    ).maps[:, 0]


def cam_of(network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    # Without the negative places, as in all other methods: they would have an order.
    return cam.class_activation_maps(network, inputs, classes[:, None]).maps[:, 0].relu()


def backprop(network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    return gradients.backprop_saliency(network, inputs, classes[:, None]).maps[:, 0]


def elsewhere(method: Any, layer: str) -> Map:
    """A method of pytorch-grad-cam, whose maps are at image size and scaled to 0 ... 1 each.

    It leaves gradients, and sometimes a changed layer: give it a copy of the network.
    """
    reshape = tokens_to_places if layer.startswith("blocks") else None

    def maps(network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
        targets = [ClassifierOutputTarget(int(c)) for c in classes]
        options = {"reshape_transform": reshape}
        if reshape and method is other.AblationCAM:
            options["ablation_layer"] = AblationLayerVit()
        found = method(network, [network.get_submodule(layer)], **options)
        try:
            return torch.from_numpy(found(inputs, targets))
        finally:
            found.activations_and_grads.release()  # its hooks

    return maps


def methods_of(name: str) -> dict[str, Map]:
    layer = LAYERS[name]
    found: dict[str, Map] = {"CAM": cam_of} if name == "googlenet-gap" else {}
    found["backprop"] = backprop
    for title, function in (
        ("Grad-CAM", gradients.grad_cam),
        ("HiResCAM", gradients.hires_cam),
        ("Layer-CAM", gradients.layer_cam),
    ):
        found[title] = of_layer(function, layer)
    return found | {title: elsewhere(method, layer) for title, method in ELSEWHERE.items()}


def in_batches(method: Map, network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Maps at image size."""
    own = copy.deepcopy(network)
    parts = [
        cam.upsample(method(own, *of).detach(), (inputs.shape[2], inputs.shape[3]))
        for of in zip(inputs.split(20), classes.split(20), strict=True)
    ]
    return torch.cat(parts)


def guided_backprop(network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """captum's, the largest size over the colours, as for backprop."""
    own = copy.deepcopy(network)
    for module in own.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # its backward hooks do not stand that
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it sets hooks, on a copy
        found = GuidedBackprop(own).attribute(inputs.detach().clone().requires_grad_(), classes)
    return found.detach().abs().amax(dim=1)


def edges(network: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    return faithfulness.edges(inputs)


# figures


def interval(values: Tensor) -> list[float]:
    return [round(v, 4) for v in metrics.bootstrap(values.double())]


def missed(maps: Tensor, pictures: Split, share: float) -> Tensor:
    guesses = boxes.boxes_from_maps(maps[:, None], share)
    return metrics.localization_error(pictures.labels[:, None], guesses, pictures.targets)


def curve_of(maps: Tensor, pictures: Split) -> Tensor:
    found = CamResult(torch.empty(0), pictures.labels[:, None], maps[:, None])
    return evaluation.error_curve(found, pictures.targets)


def of_methods(name: str) -> dict[str, Any]:
    """One network's maps by all methods, on the same test pictures."""
    network = trained(name)
    test, valid = (
        evaluation.split(lab.StickerWorld(split), length)
        for split, length in (("test", TEST), ("valid", VALID))
    )
    inputs, of_valid = (training.normalise(of.images, network) for of in (test, valid))
    fills = {"": faithfulness.blurred(inputs, BLUR)}
    if name == "googlenet-gap":
        fills[" grey"] = torch.zeros(3, 1, 1)  # the mean colour, once normalised
    maps: dict[str, tuple[Tensor, Tensor]] = {}  # on test and validation pictures
    sigmas = {}
    for title, method in methods_of(name).items():
        began = time.perf_counter()
        maps[title] = (
            in_batches(method, network, inputs, test.labels),
            in_batches(method, network, of_valid, valid.labels),
        )
        print(f"{name}, {title}: maps in {time.perf_counter() - began:.0f} s", flush=True)
    raw, raw_valid = maps["backprop"]
    curves = {s: curve_of(gradients.smoothed(raw_valid, s), valid) for s in SIGMAS}
    sigma = sigmas["backprop, blurred"] = min(SIGMAS, key=lambda s: float(curves[s].min()))
    maps["backprop, blurred"] = (
        gradients.smoothed(raw, sigma),
        gradients.smoothed(raw_valid, sigma),
    )
    for title, baseline in faithfulness.BASELINES.items():
        maps[title] = baseline(inputs), baseline(of_valid)

    figures: dict[str, Any] = {}
    each: dict[str, dict[str, Tensor]] = {}
    for title, (of_test, on_valid) in maps.items():
        began = time.perf_counter()
        share = evaluation.best_share(curve_of(on_valid, valid))
        values = each[title] = {
            "at 20 %": missed(of_test, test, 0.2),
            "at the chosen share": missed(of_test, test, share),
            "pointing game": metrics.pointing_game(of_test, test.masks),
        }
        means = {}
        for of, fill in fills.items():
            ends = fill.expand_as(inputs)
            for kind, pair in (("deletion", (inputs, ends)), ("insertion", (ends, inputs))):
                lines = faithfulness.confidence_curves(
                    network, *pair, of_test, test.labels, steps=STEPS
                )
                values[kind + of] = faithfulness.area(lines)
                means[kind + of] = [round(v, 4) for v in lines.mean(dim=0).tolist()]
        values["drop"], values["increase"] = faithfulness.drop_and_increase(
            network, inputs, fills[""], of_test, test.labels
        )
        figures[title] = {measure: interval(v) for measure, v in values.items()}
        figures[title] |= {
            "share": share,
            "PxAP": round(float(metrics.px_ap(of_test, test.masks)), 4),
            "curves": means,
        }
        if title in sigmas:
            figures[title]["sigma"] = sigmas[title]
        print(f"{name}, {title}: measured in {time.perf_counter() - began:.0f} s", flush=True)
    reference = "CAM" if "CAM" in maps else "Grad-CAM"
    for title, values in each.items():
        figures[title]["difference"] = {
            measure: interval(values[measure].double() - each[reference][measure].double())
            for measure in ("at the chosen share", "pointing game", "deletion", "insertion")
        }
    return figures


MEASURES = {"rank": sanity.rank_correlation, "SSIM": sanity.similarity}


def likeness(measure: str, maps: Tensor, others: Tensor) -> Tensor:
    """0 where one of two maps has a single value: it is like no other."""
    flat = [m.flatten(1) for m in (maps, others)]
    empty = torch.stack([m.amax(dim=1) == m.amin(dim=1) for m in flat]).any(dim=0)
    return MEASURES[measure](maps, others).masked_fill(empty, 0.0)


def of_sanity(name: str) -> dict[str, Any]:
    """How alike maps are before and after layers of the network were randomised.

    The mean of `SEEDS` randomisations; intervals are over pictures.
    """
    network = trained(name)
    pictures = evaluation.split(lab.StickerWorld("test"), SANITY)
    inputs = training.normalise(pictures.images, network)
    methods: dict[str, Map] = {"backprop": backprop, "guided backprop": guided_backprop}
    if name == "alexnet-gap":
        early = of_layer(gradients.layer_cam, "features.conv3")
        methods = {"CAM": cam_of, "Layer-CAM, conv3": early} | methods
    else:
        layer = LAYERS[name]
        methods = {
            "Grad-CAM": of_layer(gradients.grad_cam, layer),
            "HiResCAM": of_layer(gradients.hires_cam, layer),
        } | methods
    methods["edges"] = edges
    layers = RANDOMISED[name]
    before = {t: in_batches(m, network, inputs, pictures.labels) for t, m in methods.items()}
    result: dict[str, Any] = {"layers": layers}
    for kind, ways in (("cascading", sanity.cascading), ("independent", sanity.independent)):
        alike = {t: {"rank": [], "SSIM": []} for t in methods}
        per_seed = [list(ways(network, layers, 1000 * seed)) for seed in SEEDS]
        for step, layer in enumerate(layers):
            for title, method in methods.items():
                after = [
                    in_batches(method, found[step][1], inputs, pictures.labels)
                    for found in per_seed
                ]
                for measure in MEASURES:
                    values = torch.stack([likeness(measure, before[title], m) for m in after])
                    alike[title][measure].append(interval(values.mean(dim=0)))
            print(f"{name}, {kind}: {layer}", flush=True)
        result[kind] = alike
    return result


def of_labels() -> dict[str, Any]:
    """Networks that have learnt right and random labels by heart, and how alike their maps are.

    On test pictures, for the true class. Intervals are over pictures: there is one network each.
    """
    world = lab.StickerWorld("train", length=BY_HEART_IMAGES)
    images, labels = world.tensors()
    generator = torch.Generator().manual_seed(0)
    random = labels[torch.randperm(len(labels), generator=generator)]
    test = evaluation.split(lab.StickerWorld("test"), TEST)
    found, figures = {}, {}
    for title, seed, given in (("true 1", 1, labels), ("true 2", 2, labels), ("random", 3, random)):
        recipe = replace(BY_HEART, seed=seed)
        network = recipes.untrained("alexnet-gap-scratch", seed)
        network.to(memory_format=torch.channels_last)
        training.fit(network, images, given, recipe, device="cpu", progress=False)
        answers = {
            "train accuracy": (training.predict(network, images).argmax(1) == given),
            "test accuracy": (training.predict(network, test.images).argmax(1) == test.labels),
        }
        figures[title] = {k: round(v.double().mean().item(), 4) for k, v in answers.items()}
        found[title] = network
        print(f"{title}: {figures[title]}", flush=True)
    methods = {
        "CAM": cam_of,
        "backprop": backprop,
        "guided backprop": guided_backprop,
        "edges": edges,
    }
    inputs = training.normalise(test.images[:SANITY], found["true 1"])
    maps = {
        (title, name): in_batches(method, network, inputs, test.labels[:SANITY])
        for title, method in methods.items()
        for name, network in found.items()
    }
    pairs: dict[str, Any] = {"true 1 - true 2": {}, "true 1 - random": {}, "difference": {}}
    for title in methods:
        right, wrong = (
            {m: likeness(m, maps[title, "true 1"], maps[title, second]) for m in MEASURES}
            for second in ("true 2", "random")
        )
        pairs["true 1 - true 2"][title] = {m: interval(v) for m, v in right.items()}
        pairs["true 1 - random"][title] = {m: interval(v) for m, v in wrong.items()}
        pairs["difference"][title] = {m: interval(right[m] - wrong[m]) for m in MEASURES}
    return {
        "images": BY_HEART_IMAGES,
        "epochs": BY_HEART.epochs,
        "trainings": figures,
        "pairs": pairs,
    }


def of_cost(name: str) -> dict[str, Any]:
    """Time as a ratio to the plain forward pass, and memory (MiB) over it, for 16 pictures."""
    torch.set_num_threads(1)
    network = trained(name)
    images, labels = lab.StickerWorld("test", length=16).tensors()
    inputs = training.normalise(images, network)

    def plain() -> object:
        with torch.no_grad():
            return network(inputs)

    below = cost.peak_memory(plain)
    figures = {}
    for title, method in methods_of(name).items():
        own = copy.deepcopy(network)

        def call(method: Map = method, own: nn.Module = own) -> object:
            return method(own, inputs, labels)

        slow = title in ("Score-CAM", "Ablation-CAM")
        figures[title] = {
            "time": round(cost.paired_ratio(call, plain, 2 if slow else 10), 2),
            "memory": round(cost.peak_memory(call) - below, 1),
        }
        print(f"{name}, {title}: {figures[title]}", flush=True)
    return figures


def trained(name: str) -> nn.Module:
    network = networks.create(name, pretrained=True, scale="lab")
    return network.to(memory_format=torch.channels_last)


PARTS: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...]]] = {
    "methods": (of_methods, tuple(LAYERS)),
    "sanity": (of_sanity, tuple(RANDOMISED)),
    "labels": (of_labels, ()),
    "cost": (of_cost, tuple(LAYERS)),
}


def kept(part: str, *name: str) -> Path:
    """Where a part is kept; the name changes with the code and the weights it depends on."""
    files = [Path(__file__), *(Path(str(module.__file__)) for module in CODE[part])]
    files += [networks.WEIGHTS / f"{n}.safetensors" for n in name]
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]
    return WORK / f"trust-{'-'.join((part, *name))}.{content}.json"


def made(part: str, *name: str) -> dict[str, Any]:
    path = kept(part, *name)
    if not path.exists():
        write(path, PARTS[part][0](*name))
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def main() -> None:
    wanted = sys.argv[1:] or PARTS
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    WORK.mkdir(parents=True, exist_ok=True)
    found = {
        part: {name: made(part, name) for name in names} if names else made(part)
        for part, (_, names) in PARTS.items()
        if part in wanted
    }
    if sys.argv[1:]:
        return
    methods = found["methods"]
    for name, of_network in found.pop("cost").items():
        for title, figures in of_network.items():
            methods[name][title] |= figures
    content = {
        "made by": "study/trust.py",
        "images": {"test": TEST, "valid": VALID, "sanity": SANITY},
        "steps": STEPS,
        "weights": {name: recipes.manifest()[name]["sha256"] for name in {**LAYERS, **RANDOMISED}},
        "versions": {
            "camlib": camlib.__version__,
            "captum": captum.__version__,
            "grad-cam": importlib.metadata.version("grad-cam"),
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0],
        },
        **found,
    }
    study.RESULTS.mkdir(exist_ok=True)
    write(study.RESULTS / "trust.json", content)
    print("camlib/results/trust.json")


if __name__ == "__main__":
    main()
