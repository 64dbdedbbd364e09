"""Problem set 4, Gradients and trust: Grad-CAM, checks of maps, a shortcut to find and prove."""

import functools
import hashlib
import importlib.util
import itertools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camlib import gradients
from course.compare import complaint
from course.plain import as_torch, plain
from course.tasks import ProblemSet, Task

HANDOUT = Path(__file__).parents[2] / "notebooks" / "coursework" / "source" / "set4_trust"
NOTHING = "nothing"
Cases = dict[str, dict[str, Any]]
CLASSES = 5  # of the small networks


@functools.cache
def _handout() -> Any:
    """What students are handed, under a name of its own."""
    spec = importlib.util.spec_from_file_location("set4_handout", HANDOUT / "handout.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{HANDOUT / 'handout.py'} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Slips = Mapping[str, Callable[..., Any]]


def _apart(
    make: Callable[[np.random.Generator], tuple[Any, ...]],
    reference: Callable[..., Any],
    slips: Slips,
) -> Callable[[np.random.Generator], tuple[Any, ...]]:
    """A draw on which the right answer and all slips differ from each other."""

    def differ(arguments: tuple[Any, ...]) -> bool:
        answers: list[Any] = []
        for way in (reference, *slips.values()):
            answer = plain(way(*as_torch(arguments)))
            if not all(complaint(answer, other, {}, 1e-3) for other in answers):
                return False
            answers.append(answer)
        return True

    def draw(rng: np.random.Generator) -> tuple[Any, ...]:
        for _ in range(1000):
            if differ(arguments := make(rng)):
                return arguments
        raise RuntimeError("no instance on which all slips differ was found")

    return draw


# ---- small networks, drawn so that no answer hangs on rounding ----

CLEAR = 2e-4  # how far from zero everything is that meets a ReLU


def _case(rng: np.random.Generator, head: str, layer: str = "", **flags: bool) -> dict[str, Any]:
    """A network's weights, images and classes; asked again until they tell right from wrong."""
    while True:
        case = _drawn(rng, head, layer, **flags)
        if _telling(case):
            return case


def _drawn(rng: np.random.Generator, head: str, layer: str, **flags: bool) -> dict[str, Any]:
    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        found: np.ndarray = (scale * rng.normal(size=shape)).astype(np.float32)
        return found

    def layer_of(outputs: int, *inputs: int) -> tuple[np.ndarray, np.ndarray]:
        spread = 1.5 / float(np.prod(inputs)) ** 0.5
        return normal(outputs, *inputs, scale=spread), normal(outputs, scale=0.3)

    height, width = rng.choice([6, 8, 10], size=2, replace=False)
    n, first, channels = 3, int(rng.integers(4, 6)), int(rng.integers(6, 9))
    layers = {"conv1": layer_of(first, 3, 3, 3), "conv2": layer_of(channels, first, 3, 3)}
    if flags.get("residual"):
        layers["res"] = layer_of(channels, channels, 3, 3)
    inputs = channels
    if head == "flat":
        places = int(height // 2 * (width // 2))
        layers["hidden"] = layer_of(9, channels * places)
        inputs = 9
    layers["fc"] = layer_of(CLASSES, inputs)
    layers["fc"] = (2.5 * layers["fc"][0], layers["fc"][1])
    names = ("weight", "bias")
    return {
        "weights": {
            f"{layer}.{name}": array
            for layer, pair in layers.items()
            for name, array in zip(names, pair, strict=True)
        },
        "head": head,
        "layer": layer,
        "inplace": flags.get("inplace", False),
        "frozen": flags.get("frozen", False),
        "no_grad": flags.get("no_grad", False),
        "images": normal(n, 3, int(height), int(width)),
        "classes": rng.permutation(CLASSES)[:n],
    }


def _opened(case: dict[str, Any]) -> tuple[Any, Tensor, Tensor]:
    """The case's network, its images and classes, as tensors."""
    given = {
        key: {k: torch.as_tensor(v) for k, v in value.items()} if key == "weights" else value
        for key, value in case.items()
    }
    images, classes = torch.as_tensor(case["images"]), torch.as_tensor(case["classes"])
    return _handout().build(given | {"frozen": False}), images, classes


def _telling(case: dict[str, Any]) -> bool:
    """Whether nothing is near a kink, each score has a gradient, and classes matter."""
    network, images, classes = _opened(case)
    least = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: least.append(args[0].abs().min().item()))
        for module in network.modules()
        if isinstance(module, torch.nn.ReLU)
    ]
    with torch.no_grad():
        answers = network(images).argmax(dim=1)
    for handle in handles:
        handle.remove()
    if min(least) < CLEAR or bool((answers == classes).all()):
        return False
    if not case["layer"]:
        return bool((_input_gradient(case).abs().amax(dim=(1, 2, 3)) > 0.01).all())
    try:
        maps = _cams(case)
    except ValueError:  # a gradient that is zero everywhere
        return False
    highest = maps.amax(dim=(1, 2))
    lit = bool((highest > 0.05 * highest.max()).all()) and bool((maps == 0).any())
    return lit and bool(torch.isfinite(maps).all())


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a case, kept for the slips that share it."""
    known: dict[Any, Any] = {}

    @functools.wraps(function)
    def asked(case: dict[str, Any], *more: Any, **flags: Any) -> Any:
        content = np.asarray(case["images"]).tobytes() + np.asarray(case["classes"]).tobytes()
        digest = hashlib.sha256(content).digest()
        key = (digest, case["layer"], case["head"], more, tuple(flags.items()))
        if key not in known:
            if len(known) > 2000:
                known.clear()
            known[key] = function(case, *more, **flags)
        return known[key]

    return asked


def _score(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).sum()


def _left(
    case: dict[str, Any], weights: bool = False, hook: bool = False, images: bool = False
) -> str:
    """As the adapter says what was left behind."""
    traces = {
        "a hook": hook,
        "a gradient on the weights": weights and not case["frozen"],
        "a gradient on the images": images,
    }
    return ", ".join(what for what, there in traces.items() if there) or NOTHING


def _each(
    maps: Callable[[dict[str, Any]], Tensor], **left: bool
) -> Callable[[Cases], dict[str, dict[str, Any]]]:
    """What the adapter gives for all cases."""

    def answer(cases: Cases) -> dict[str, dict[str, Any]]:
        return {
            name: {"maps": maps(case), "left behind": _left(case, **left)}
            for name, case in cases.items()
        }

    return answer


# ---- 4.1 ----


@_remembered
def _input_gradient(
    case: dict[str, Any], score: Callable[[Tensor, Tensor], Tensor] = _score
) -> Tensor:
    network, images, classes = _opened(case)
    pixels = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(network(pixels), classes), pixels)
    return found


def _saliency(case: dict[str, Any]) -> Tensor:
    gradient: Tensor = _input_gradient(case)
    return gradient.abs().amax(dim=1)


def _of_score(score: Callable[[Tensor, Tensor], Tensor]) -> Callable[[dict[str, Any]], Tensor]:
    return lambda case: _input_gradient(case, score).abs().amax(dim=1)


def _own_maximum(maps: Tensor) -> Tensor:
    return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def _saliency_cases(rng: np.random.Generator) -> tuple[Cases]:
    return (
        {
            "average pooling": _case(rng, "average"),
            "fully connected, weights frozen": _case(rng, "flat", frozen=True, inplace=True),
            "maximum": _case(rng, "maximum"),
        },
    )


SALIENCY = Task(
    key="4.1",
    function="saliency",
    points=6,
    section="09_backprop_saliency#A gradient by the pixels",
    draw=_saliency_cases,
    adapter="saliency_of",
    reference=_each(_saliency),
    slips={
        "the maps are right, but a gradient stays on the weights and on the images: ask "
        "torch.autograd.grad for that by the pixels alone, of a copy of the images": _each(
            _saliency, weights=True, images=True
        ),
        "the maps are right, but a gradient stays on the weights, to which the next backward adds: "
        "ask torch.autograd.grad for that by the pixels alone": _each(_saliency, weights=True),
        "the maps are right, but the images that were passed now ask for a gradient: take a copy "
        "of them": _each(_saliency, images=True),
        "that is the gradient of the probability; the score is the logit, before softmax": _each(
            _of_score(lambda logits, classes: _score(logits.softmax(dim=1), classes))
        ),
        "that is the gradient of the log-probability; the score is the logit itself": _each(
            _of_score(lambda logits, classes: _score(logits.log_softmax(dim=1), classes))
        ),
        "that is the gradient for the class with the highest score, not for the one asked": _each(
            _of_score(lambda logits, classes: logits.amax(dim=1).sum())
        ),
        "that is the gradient of all scores together, not of the one asked": _each(
            _of_score(lambda logits, classes: logits.sum())
        ),
        "the first image's class was taken for all images": _each(
            _of_score(lambda logits, classes: logits[:, classes[0]].sum())
        ),
        "the largest over the colours was taken with the sign: absolute values come first": _each(
            lambda case: _input_gradient(case).amax(dim=1)
        ),
        "absolute values come before the largest over the colours, not after": _each(
            lambda case: _input_gradient(case).amax(dim=1).abs()
        ),
        "the colours are added up; the largest of the three was asked": _each(
            lambda case: _input_gradient(case).abs().sum(dim=1)
        ),
        "that is the mean over the colours; the largest of the three was asked": _each(
            lambda case: _input_gradient(case).abs().mean(dim=1)
        ),
        "that is the length of the gradient over the colours; the largest was asked": _each(
            lambda case: _input_gradient(case).norm(dim=1)
        ),
        "that is gradient times image; the gradient alone was asked": _each(
            lambda case: (_input_gradient(case) * _opened(case)[1]).abs().amax(dim=1)
        ),
        "each map is divided by its own maximum; keep the gradient's unit": _each(
            lambda case: _own_maximum(_saliency(case))
        ),
        "that is the gradient of the mean over the images: each image has its own, undivided": (
            _each(lambda case: _saliency(case) / len(case["images"]))
        ),
    },
    instances=4,
)


# ---- 4.2 ----


def _gradients(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, some far above what exp takes in float32, and the gradients of each of them."""
    n, c, h, w = rng.permutation([3, 4, 5, 6, 7])[:4]
    logits = 1.2 * rng.normal(size=(n, c)) + rng.uniform(150, 400, size=(n, 1))
    slopes = rng.normal(size=(n, c, 3, h, w)).astype(np.float32)
    return logits.astype(np.float32), slopes, rng.integers(c, size=n)


def _own(values: Tensor, classes: Tensor) -> Tensor:
    return values[torch.arange(len(classes)), classes]


def _chance(logits: Tensor) -> Tensor:
    return logits.double().softmax(dim=1)[:, :, None, None, None]


def _log_gradient(logits: Tensor, slopes: Tensor, classes: Tensor) -> Tensor:
    mean = (_chance(logits) * slopes).sum(dim=1)
    return _own(slopes, classes) - mean


def _probability_gradient(logits: Tensor, slopes: Tensor, classes: Tensor) -> Tensor:
    return _own(_chance(logits), classes) * _log_gradient(logits, slopes, classes)


def _over_images(logits: Tensor, slopes: Tensor, classes: Tensor) -> Tensor:
    chance = logits.double().softmax(dim=0)[:, :, None, None, None]
    return _own(chance, classes) * (_own(slopes, classes) - (chance * slopes).sum(dim=1))


def _of_top(logits: Tensor, slopes: Tensor, classes: Tensor) -> Tensor:
    return _probability_gradient(logits, slopes, logits.argmax(dim=1))


PROBABILITY_SLIPS: Slips = {
    "that is the gradient of the logarithm of the probability: a factor is missing": (
        _log_gradient
    ),
    "the class's own gradient times its probability is one part of it: the probability also "
    "falls when other scores rise": lambda s, g, c: _own(_chance(s), c) * _own(g, c),
    "the factor P (1 - P) is the slope by the class's own score; the other scores change with the "
    "pixels too": lambda s, g, c: _own(_chance(s) * (1 - _chance(s)), c) * _own(g, c),
    "that is the gradient of the score itself": lambda s, g, c: _own(g, c),
    "that is the gradient of the log-odds: a factor is missing": lambda s, g, c: (
        _log_gradient(s, g, c) / (1 - _own(_chance(s), c))
    ),
    "softmax runs over the classes of an image, not over the images": _over_images,
    "that is the gradient for the class with the highest score, not for the one asked": _of_top,
    "the sign is wrong": lambda s, g, c: -_probability_gradient(s, g, c),
    "the gradients of the other classes are averaged, each with the same weight": (
        lambda s, g, c: _own(_chance(s), c) * (_own(g, c) - g.mean(dim=1))
    ),
}


PROBABILITY = Task(
    key="4.2",
    function="probability_gradient",
    points=6,
    section="09_backprop_saliency#The logit, not the probability",
    draw=_apart(_gradients, _probability_gradient, PROBABILITY_SLIPS),
    reference=_probability_gradient,
    slips=PROBABILITY_SLIPS,
    instances=6,
)


# ---- 4.3 ----


@_remembered
def _cams(case: dict[str, Any]) -> Tensor:
    """By camlib, whose tests have their truth from outside."""
    network, images, classes = _opened(case)
    found = gradients.grad_cam(network, images, case["layer"], classes[:, None])
    return found.maps[:, 0]


@_remembered
def _at_layer(
    case: dict[str, Any], score: Callable[[Tensor, Tensor], Tensor] = _score, copied: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, gradients by them, and gradients before anything in place."""
    network, images, classes = _opened(case)
    kept: list[Tensor] = []
    first: list[Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Tensor) -> Tensor | None:
        tensor: Any = output
        tensor.register_hook(lambda slope: first.append(slope.clone()))
        kept.append(output)
        return output.clone() if copied else None

    handle = network.get_submodule(case["layer"]).register_forward_hook(keep)
    total = score(network(images.clone().requires_grad_()), classes)
    handle.remove()
    (slopes,) = torch.autograd.grad(total, kept, retain_graph=True)
    total.backward()  # type: ignore[no-untyped-call]
    return kept[0].detach(), slopes, first[-1]


def _weighted(activations: Tensor, slopes: Tensor) -> Tensor:
    return torch.einsum("nk,nkyx->nyx", slopes.mean(dim=(2, 3)), activations)


def _cam_of_score(score: Callable[[Tensor, Tensor], Tensor]) -> Callable[[dict[str, Any]], Tensor]:
    return lambda case: _weighted(*_at_layer(case, score)[:2]).relu()


def _cam_by(combine: Callable[[Tensor, Tensor], Tensor]) -> Callable[[dict[str, Any]], Tensor]:
    return lambda case: combine(*_at_layer(case)[:2])


def _overwritten(case: dict[str, Any]) -> Tensor:
    """Activations read after an in-place layer, with gradients by what it left."""
    return _weighted(*_at_layer(case, copied=False)[:2]).relu()


def _half_overwritten(case: dict[str, Any]) -> Tensor:
    """Activations read after an in-place layer, with gradients by what was there before."""
    activations, _, slopes = _at_layer(case, copied=False)
    return _weighted(activations, slopes).relu()


def _cam_cases(rng: np.random.Generator) -> tuple[Cases]:
    last = [f"features.{name}" for name in ("conv2", "relu2")]
    middle = [f"features.{name}" for name in ("pool", "conv2")]
    inside = [f"features.{name}" for name in ("block", "block.conv")]
    some = bool(rng.random() < 0.5)
    return (
        {
            "average pooling": _case(rng, "average", str(rng.choice(last))),
            "in-place ReLU": _case(rng, "average", "features.conv2", inplace=True),
            "fully connected, weights frozen": _case(
                rng, "flat", str(rng.choice(middle)), frozen=True, inplace=True
            ),
            "maximum": _case(rng, "maximum", str(rng.choice(last)), frozen=some),
            "residual, gradients switched off": _case(
                rng, "average", str(rng.choice(inside)), residual=True, inplace=True, no_grad=True
            ),
        },
    )


GRAD_CAM = Task(
    key="4.3",
    function="grad_cam",
    points=12,
    section="10_grad_cam_and_its_family#Ten lines",
    draw=_cam_cases,
    adapter="grad_cam_of",
    reference=_each(_cams),
    slips={
        "the maps are right, but a hook stays on the network, and keeps every later output: remove "
        "its handle": _each(_cams, hook=True),
        "the maps are right, but a hook stays on the network and a gradient on the weights": _each(
            _cams, hook=True, weights=True
        ),
        "the maps are right, but a hook stays on the network and the images ask for a gradient": (
            _each(_cams, hook=True, images=True)
        ),
        "the maps are right, but a gradient stays on the weights, to which the next backward adds: "
        "ask torch.autograd.grad for that by the layer's output alone": _each(_cams, weights=True),
        "the maps are right, but the images that were passed now ask for a gradient: take a copy "
        "of them": _each(_cams, images=True),
        "the maps are right, but a gradient stays on the weights and on the images": _each(
            _cams, weights=True, images=True
        ),
        "the layer's output was overwritten by the in-place layer after it before you read it: "
        "keep a copy, and let the network go on with another": _each(_overwritten),
        "the activations were overwritten by the in-place layer after them before you read them: "
        "keep a copy (detach alone makes none)": _each(_half_overwritten),
        "the gradient was added up over the places; its mean was asked": _each(
            _cam_by(lambda a, g: _weighted(a, g).relu() * a[0, 0].numel())
        ),
        "negative values are left in the map: a ReLU comes last": _each(_cam_by(_weighted)),
        "the ReLU comes after the sum over the channels: those against the class have to be "
        "subtracted first": _each(
            _cam_by(lambda a, g: (g.mean(dim=(2, 3), keepdim=True) * a).relu().sum(dim=1))
        ),
        "negative weights were cut off: channels against the class have to be subtracted": _each(
            _cam_by(lambda a, g: torch.einsum("nk,nkyx->nyx", g.mean(dim=(2, 3)).relu(), a).relu())
        ),
        "negative gradients were cut off before their mean": _each(
            _cam_by(lambda a, g: _weighted(a, g.relu()).relu())
        ),
        "absolute values were taken of the gradients or their means: the sign says for or "
        "against": _each(
            _cam_by(lambda a, g: torch.einsum("nk,nkyx->nyx", g.mean(dim=(2, 3)).abs(), a).relu())
        ),
        "absolute values were taken of the map in the place of a ReLU": _each(
            _cam_by(lambda a, g: _weighted(a, g).abs())
        ),
        "that is the product of gradient and activation at each place (HiResCAM): first the mean "
        "of the gradient over the places": _each(_cam_by(lambda a, g: (g * a).sum(dim=1).relu())),
        "the weighted channels are averaged; their sum was asked": _each(
            _cam_by(lambda a, g: _weighted(a, g).relu() / a.shape[1])
        ),
        "that is the map of the probability; the score is the logit, before softmax": _each(
            _cam_of_score(lambda logits, classes: _score(logits.softmax(dim=1), classes))
        ),
        "that is the map of the log-probability; the score is the logit itself": _each(
            _cam_of_score(lambda logits, classes: _score(logits.log_softmax(dim=1), classes))
        ),
        "those are maps of the class with the highest score, not of the one asked": _each(
            _cam_of_score(lambda logits, classes: logits.amax(dim=1).sum())
        ),
        "the first image's class was taken for all images": _each(
            _cam_of_score(lambda logits, classes: logits[:, classes[0]].sum())
        ),
        "every score of every image was taken, not the one asked of each": _each(
            _cam_of_score(lambda logits, classes: logits[:, classes].sum())
        ),
        "each map is divided by its own maximum; keep its unit": _each(
            lambda case: _own_maximum(_cams(case))
        ),
        "the score was averaged over the images: each has its own": _each(
            lambda case: _cams(case) / len(case["images"])
        ),
    },
    instances=4,
)


# ---- 4.4 ----

POOLINGS = ("mean", "sum", "max")
ByPooling = dict[str, Tensor]
OfPooling = Callable[[Tensor, Tensor, str], Tensor]


def _pooled_case(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Activations (N, K, H, W), and the gradients of one score under each of three poolings."""
    n, k, h, w = rng.permutation([2, 3, 4, 5, 6])[:4]
    activations = np.maximum(rng.normal(size=(n, k, h, w)) + 0.5, 0)
    activations[:, :, 0, -1] += 0.1  # no channel is zero everywhere
    weight = rng.normal(size=(n, k, 1, 1))
    highest = activations == activations.max(axis=(2, 3), keepdims=True)
    share = {"mean": np.full_like(activations, 1 / (h * w)), "sum": np.ones_like(activations)}
    share["max"] = highest.astype(np.float64)
    slopes = {name: (weight * part).astype(np.float32) for name, part in share.items()}
    return activations.astype(np.float32), slopes


def _by_pooling(one: OfPooling) -> Callable[[Tensor, ByPooling], ByPooling]:
    """What the adapter gives: the answer for each pooling."""

    def answer(activations: Tensor, slopes: ByPooling) -> ByPooling:
        return {name: one(activations, own, name) for name, own in slopes.items()}

    return answer


def _cam_from_gradients(activations: Tensor, slopes: Tensor, pooling: str) -> Tensor:
    over = slopes.mean(dim=(2, 3)) if pooling == "sum" else slopes.sum(dim=(2, 3))
    return torch.einsum("nk,nkyx->nyx", over, activations)


def _of_first_place(a: Tensor, g: Tensor, pooling: str) -> Tensor:
    factor = a[0, 0].numel() if pooling == "mean" else 1
    return torch.einsum("nk,nkyx->nyx", g[:, :, 0, 0] * factor, a)


EQUALITY_SLIPS: Slips = {
    "a factor is missing: behind an average or a maximum the mean gradient is not the weight, "
    "but a share of it": _by_pooling(lambda a, g, p: _weighted(a, g)),
    "behind a sum each place has the whole weight as gradient: adding them up counts it once "
    "for each place": _by_pooling(lambda a, g, p: _weighted(a, g) * a[0, 0].numel()),
    "behind the maximum the factor is missing: write down where the gradient is, and what its "
    "mean is": _by_pooling(
        lambda a, g, p: _cam_from_gradients(a, g, p) / (a[0, 0].numel() if p == "max" else 1)
    ),
    "negative values were cut off: a class activation map keeps its sign": _by_pooling(
        lambda a, g, p: _cam_from_gradients(a, g, p).relu()
    ),
    "the gradient of the first place stands for the whole channel only where it is the same "
    "everywhere": _by_pooling(_of_first_place),
    "that is the product at each place: behind a maximum it leaves one place of each channel, "
    "where the map has all": _by_pooling(
        lambda a, g, p: (g * a).sum(dim=1) * (a[0, 0].numel() if p == "mean" else 1)
    ),
    "that is the product at each place; a map weights whole channels": _by_pooling(
        lambda a, g, p: (g * a).sum(dim=1)
    ),
    "the maps are divided by the number of places where they have to be multiplied": (
        _by_pooling(lambda a, g, p: _weighted(a, g) / (1 if p == "sum" else a[0, 0].numel()))
    ),
    "the factor is the number of places, H x W, not one of the sides": _by_pooling(
        lambda a, g, p: _weighted(a, g) * (1 if p == "sum" else a.shape[2])
    ),
    "negative gradients were cut off: channels against the class have to be subtracted": (
        _by_pooling(lambda a, g, p: _cam_from_gradients(a, g.relu(), p))
    ),
}


EQUALITY = Task(
    key="4.4",
    function="cam_from_gradients",
    points=8,
    section="10_grad_cam_and_its_family#Where it is CAM: a proof",
    draw=_apart(_pooled_case, _by_pooling(_cam_from_gradients), EQUALITY_SLIPS),
    adapter="equality_of",
    reference=_by_pooling(_cam_from_gradients),
    slips=EQUALITY_SLIPS,
)


# ---- 4.6 ----


def _tensors(rng: np.random.Generator) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Names and values of a small network's tensors, from input to output, and an order each."""
    widths = [3, *rng.permutation([3, 4, 5, 6])[: rng.integers(2, 4)]]
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths), 1):
        shapes[f"features.conv{i}.weight"] = (outputs, inputs, 2, 2)
        if rng.random() < 0.5:
            shapes[f"features.conv{i}.bias"] = (outputs,)
        if i == 1 or rng.random() < 0.5:
            for name in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"features.norm{i}.{name}"] = (outputs,)
    shapes |= {"classifier.weight": (8, widths[-1]), "classifier.bias": (8,)}
    values = [rng.normal(size=shape).astype(np.float32) for shape in shapes.values()]
    return list(shapes), values, [_order(rng, value.size) for value in values]


def _order(rng: np.random.Generator, size: int) -> np.ndarray:
    """A permutation that is not its own inverse, and moves what stands first."""
    while True:
        order = rng.permutation(size)
        if (order[order] != np.arange(size)).any() and order[0]:
            return order


def _cascade(
    names: list[str],
    tensors: list[Tensor],
    orders: list[Tensor],
    *,
    upwards: bool = False,
    alone: bool = False,
    again: bool = False,
    skip: tuple[str, ...] = ("running_mean", "running_var"),
    backwards: bool = False,
    rows: bool = False,
) -> list[list[Tensor]]:
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now = [tensor.clone() for tensor in tensors]
    stages = [list(now)]
    done: list[str] = []
    for layer in layers if upwards else layers[::-1]:
        done.append(layer)
        now = list(tensors) if alone else list(now)
        for i, (name, order) in enumerate(zip(names, orders, strict=True)):
            owner, _, kind = name.rpartition(".")
            if owner not in (done if again else [layer]) or kind in skip:
                continue
            places = order.argsort() if backwards else order
            if rows:
                first = places[places < len(now[i])]
                now[i] = now[i][first]
            else:
                now[i] = now[i].flatten()[places].reshape(now[i].shape)
        stages.append(list(now))
    return stages


def _of_cascade(**flags: Any) -> Callable[..., list[list[Tensor]]]:
    return functools.partial(_cascade, **flags)


def _all_last(names: list[str], tensors: list[Tensor], orders: list[Tensor]) -> list[list[Tensor]]:
    stages = _cascade(names, tensors, orders)
    return [stages[-1]] * len(stages)


CASCADE_SLIPS: Slips = {
    "all stages are the last one: the tensors of a stage have to be copies, which later stages "
    "leave alone": _all_last,
    "the cascade runs from the input up; it starts at the output": _of_cascade(upwards=True),
    "only one layer is shuffled in each stage: in a cascade those above stay shuffled": (
        _of_cascade(alone=True)
    ),
    "layers that were shuffled are shuffled once more in later stages; they stay as they are": (
        _of_cascade(again=True)
    ),
    "the running statistics of batch norm were shuffled as well; they were not learnt and "
    "stay": _of_cascade(skip=()),
    "biases were left in place: all weights of a layer are shuffled": _of_cascade(
        skip=("bias", "running_mean", "running_var")
    ),
    "the order was used the other way round: new place i gets the number from old place "
    "order[i]": _of_cascade(backwards=True),
    "whole rows were moved; the single numbers of a tensor change places": _of_cascade(rows=True),
}


CASCADE = Task(
    key="4.6",
    function="cascade",
    points=8,
    section="11_can_you_trust_a_map#Question 1: does the map depend on what was learnt?",
    draw=_apart(_tensors, _cascade, CASCADE_SLIPS),
    reference=_cascade,
    slips=CASCADE_SLIPS,
    instances=4,
)


# ---- 4.7 ----


def _deletion_case(rng: np.random.Generator) -> tuple[Any, ...]:
    height, width = (int(side) for side in rng.choice([4, 5, 6, 7, 8], size=2, replace=False))
    places = height * width
    most = [steps for steps in range(3, 11) if places % steps == 0]
    steps = int(rng.choice(most))
    image, fill = rng.normal(size=(2, 3, height, width))
    image, fill = image + 0.3, 0.5 * fill - 0.3
    weight = rng.normal(size=(3, 3 * places)) * 1.6 / places**0.5
    # Class 0 leans to the image and away from the fill, so that the curve falls.
    weight[0] += 0.12 * (np.tanh(image) - np.tanh(fill)).ravel()
    bias = 0.3 * rng.normal(size=3)
    arrays = [a.astype(np.float32) for a in (weight, bias, image, fill)]
    return (*arrays, rng.permutation(places), steps)


def _curve(
    weight: Tensor,
    bias: Tensor,
    image: Tensor,
    fill: Tensor,
    order: Tensor,
    steps: int,
    *,
    together: bool = True,
) -> Tensor:
    """The score at the whole image, after the first share of the pixels, ..., after all."""
    values = []
    for step in range(steps + 1):
        first, last = (0 if together else step - 1), step
        share = len(order) // steps
        gone = order[max(first, 0) * share : last * share]
        left = image.double().flatten(1).clone()
        left[:, gone] = fill.double().flatten(1)[:, gone]
        logits = weight.double() @ left.flatten().tanh() + bias.double()
        values.append(logits.softmax(dim=0)[0])
    return torch.stack(values)


def _area(curve: Tensor) -> Tensor:
    return torch.trapezoid(curve, dx=1 / (len(curve) - 1))


def _deleted(
    of_curve: Callable[[Tensor], Tensor], changed: str = NOTHING, together: bool = True
) -> Callable[..., dict[str, Any]]:
    def answer(*arguments: Any) -> dict[str, Any]:
        return {"area": of_curve(_curve(*arguments, together=together)), "changed": changed}

    return answer


def _inserted(w: Tensor, b: Tensor, image: Tensor, fill: Tensor, order: Tensor, steps: int) -> Any:
    return _deleted(_area)(w, b, fill, image, order, steps)


def _by_rank(w: Tensor, b: Tensor, image: Tensor, fill: Tensor, order: Tensor, steps: int) -> Any:
    return _deleted(_area)(w, b, image, fill, order.argsort(), steps)


def _black(w: Tensor, b: Tensor, image: Tensor, fill: Tensor, order: Tensor, steps: int) -> Any:
    return _deleted(_area)(w, b, image, torch.zeros_like(fill), order, steps)


def _one_colour(w: Tensor, b: Tensor, image: Tensor, fill: Tensor, order: Tensor, k: int) -> Any:
    return _deleted(_area)(w, b, image, torch.cat([fill[:1], image[1:]]), order, k)


DELETION_SLIPS: Slips = {
    "the area is right, but the image that was passed has been painted over: work on a copy": (
        _deleted(_area, "the image")
    ),
    "that is insertion, or the order from its end, which has the same area: deletion starts from "
    "the image, and takes away the first of the order first": _inserted,
    "order[i] is the pixel that goes at place i, not the place of pixel i": _by_rank,
    "each share was taken away alone: what is gone stays gone": _deleted(_area, together=False),
    "the pixels were set to zero, not to the fill": _black,
    "one colour alone was replaced: a pixel has three": _one_colour,
    "that is the mean of the values; trapezoids count the two ends half": _deleted(torch.mean),
    "the curve starts at the first share; it starts at the whole image": _deleted(
        lambda curve: _area(curve[1:])
    ),
    "the curve ends before the last share; it ends with all pixels gone": _deleted(
        lambda curve: _area(curve[:-1])
    ),
    "the last point, or the first, is left out and the others are averaged: use trapezoids": (
        _deleted(lambda curve: curve[1:].mean())
    ),
    "rectangles from the left were added up: use trapezoids": _deleted(
        lambda curve: curve[:-1].mean()
    ),
    "shares run from 0 to 1: the steps are not divided by their number": _deleted(
        lambda curve: torch.trapezoid(curve)
    ),
    "the curve is divided by its first value; the score itself was asked": _deleted(
        lambda curve: _area(curve / curve[0])
    ),
}


DELETION = Task(
    key="4.7",
    function="deletion_area",
    points=7,
    section="11_can_you_trust_a_map#Question 2: does the score follow the map?",
    draw=_apart(_deletion_case, _deleted(_area), DELETION_SLIPS),
    adapter="deletion_of",
    reference=_deleted(_area),
    slips=DELETION_SLIPS,
    instances=6,
)


# ---- 4.8 ----


def _signed_maps(rng: np.random.Generator) -> tuple[np.ndarray]:
    """Maps whose sides are multiples of 3, one of them without a positive value."""
    n = int(rng.integers(3, 6))
    h, w = (3 * int(side) for side in rng.choice([1, 2, 3, 4, 5], size=2, replace=False))
    maps = rng.normal(size=(n, h, w)) + rng.uniform(0.2, 0.8, size=(n, 1, 1))
    maps[rng.integers(n)] = -rng.uniform(0.1, 1, size=(h, w))
    return (maps.astype(np.float32),)


def _split(maps: Tensor) -> Tensor:
    """Rows and columns in thirds: (N, 3, h / 3, 3, w / 3)."""
    n, h, w = maps.shape
    return maps.reshape(n, 3, h // 3, 3, w // 3)


def _into_cells(maps: Tensor) -> Tensor:
    return _split(maps).sum(dim=(2, 4))


def _shares(mass: Tensor, dims: tuple[int, ...] = (1, 2)) -> Tensor:
    cells = _into_cells(mass.double())
    whole = mass.double().sum(dim=dims, keepdim=True)
    return (cells / whole.where(whole != 0, torch.ones_like(whole))).flatten(1)


def _mass_per_cell(maps: Tensor) -> Tensor:
    return _shares(maps.relu())


MASS_SLIPS: Slips = {
    "negative values are in the sums: cut them off first": _shares,
    "negative values count as positive: cut them off, do not fold them over": lambda m: _shares(
        m.abs()
    ),
    "the minimum was taken off: that makes mass where the map is negative": lambda m: _shares(
        m - m.amin(dim=(1, 2), keepdim=True)
    ),
    "the cells are counted column by column; row by row was asked": lambda m: (
        _mass_per_cell(m).reshape(-1, 3, 3).transpose(1, 2).flatten(1)
    ),
    "those are sums: divide each by that of its whole map": lambda m: _into_cells(m.relu()).flatten(
        1
    ),
    "divided by the sum of all maps together: each map has a mass of its own": lambda m: _shares(
        m.relu(), (0, 1, 2)
    ),
    "those are shares of places: their values are the mass": lambda m: _shares((m > 0).double()),
    "those are means in a cell against the mean of the map, a preference: the share is asked": (
        lambda m: 9 * _mass_per_cell(m)
    ),
    "a map without a positive value has no mass, in no cell: expected zeros": lambda m: torch.where(
        (m > 0).any(dim=2).any(dim=1)[:, None], _mass_per_cell(m), 1 / 9
    ),
    "those are the largest values of the cells; their sums were asked": lambda m: (
        _split(m.relu()).amax(dim=(2, 4)).flatten(1)
    ),
}


MASS = Task(
    key="4.8",
    function="mass_per_cell",
    points=5,
    section="11_can_you_trust_a_map#What the map is for: a shortcut",
    draw=_apart(_signed_maps, _mass_per_cell, MASS_SLIPS),
    reference=_mass_per_cell,
    slips=MASS_SLIPS,
    instances=6,
)


# ---- 4.9 ----


def _answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Answers before and after a change, labels, and the suspect's class."""
    n, classes = int(rng.integers(40, 61)), int(rng.integers(5, 9))
    suspect = int(rng.integers(classes))
    labels = rng.integers(classes, size=n)
    labels[:6] = suspect
    labels[6:] = np.where(labels[6:] == suspect, (suspect + 1) % classes, labels[6:])
    before = np.where(rng.random(n) < 0.6, labels, rng.integers(classes, size=n))
    before[:2], before[6:10] = (suspect + 1) % classes, suspect
    after = np.where(rng.random(n) < 0.5, suspect, rng.integers(classes, size=n))
    after[:2], after[6:8], after[8] = suspect, suspect, (suspect + 1) % classes
    order = rng.permutation(n)
    return before[order], after[order], labels[order], suspect


def _share_of(hits: Tensor, among: Tensor) -> float:
    return float(hits[among].double().mean())


def _turned(before: Tensor, after: Tensor, labels: Tensor, suspect: int) -> float:
    return _share_of(after == suspect, (labels != suspect) & (before != suspect))


COUNTERFACTUAL_SLIPS: Slips = {
    "pictures that gave the suspect's class already cannot turn to it: leave them out, above "
    "and below the line": lambda b, a, y, s: _share_of(a == s, y != s),
    "pictures that gave the suspect's class already still count below the line": (
        lambda b, a, y, s: _share_of((a == s) & (b != s), y != s)
    ),
    "pictures of the suspect's own class are in it: leave them out": lambda b, a, y, s: _share_of(
        a == s, b != s
    ),
    "all pictures count below the line; only those that could turn do": lambda b, a, y, s: (
        _share_of((a == s) & (b != s) & (y != s), torch.ones_like(y, dtype=torch.bool))
    ),
    "any change of the answer counts; only turns to the suspect's class do": (
        lambda b, a, y, s: _share_of(a != b, (y != s) & (b != s))
    ),
    "that is the gain of the suspect's share: some pictures turn away and hide others": (
        lambda b, a, y, s: _share_of(a == s, y != s) - _share_of(b == s, y != s)
    ),
    "only pictures that were right before are in it; wrong ones can turn too": (
        lambda b, a, y, s: _share_of(a == s, (y != s) & (b == y))
    ),
    "that is a number of pictures; their share was asked": lambda b, a, y, s: float(
        ((a == s) & (b != s) & (y != s)).sum()
    ),
    "that is the share that does not turn": lambda b, a, y, s: _share_of(
        a != s, (y != s) & (b != s)
    ),
    "that is a percentage; a share runs from 0 to 1": lambda b, a, y, s: 100 * _turned(b, a, y, s),
}


COUNTERFACTUAL = Task(
    key="4.9",
    function="turned",
    points=5,
    section="11_can_you_trust_a_map#What the map is for: a shortcut",
    draw=_apart(_answers, _turned, COUNTERFACTUAL_SLIPS),
    reference=_turned,
    slips=COUNTERFACTUAL_SLIPS,
    instances=8,
)


# ---- 4.10 ----


def _found() -> dict[str, int]:
    """What course/handouts/set4_trust.py hid, as it told the judge.

    Raises:
        RuntimeError: if the judge was not told.
    """
    folder = os.environ.get("COURSE_PRIVATE")
    if not folder:
        raise RuntimeError(
            "4.10 cannot be judged: COURSE_PRIVATE names no folder. The commands of the course set "
            "it; by hand, set it to the course's folder private"
        )
    path = Path(folder) / "set4_trust.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RuntimeError(
            f"4.10 cannot be judged: {path} is not there. It is made when the set is released, "
            "together with the network: release it again with the same seed"
        ) from error
    return {"class": int(kept["class"]), "cell": int(kept["cell"])}


def _name_of_class() -> dict[str, Any]:
    truth = _found()
    return truth | {"class": _handout().CLASSES[truth["class"]]}


FINDING = Task(
    key="4.10",
    function="finding",
    points=7,
    section="11_can_you_trust_a_map#What the map is for: a shortcut",
    draw=lambda rng: (),
    reference=_found,
    slips={
        "the class is given by its name; its number was asked": _name_of_class,
        "the cells are counted from 1; they run from 0 to 8": lambda: (
            _found() | {"cell": _found()["cell"] + 1}
        ),
        "classes and cells are counted from 1; both start at 0": lambda: (
            {name: number + 1 for name, number in _found().items()}
        ),
    },
    instances=1,
    seconds=60.0,
    visible=False,
)


SET = ProblemSet(
    name="set4_trust",
    title="Gradients and trust",
    tasks=(
        SALIENCY,
        PROBABILITY,
        GRAD_CAM,
        EQUALITY,
        CASCADE,
        DELETION,
        MASS,
        COUNTERFACTUAL,
        FINDING,
    ),
    written={"4.5": 12, "4.11": 16, "4.12": 8},
)
