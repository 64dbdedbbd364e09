"""Self-checks of the exercises: each says in words what is wrong with an answer.

A check returns a `Verdict`, which a notebook shows as its message. An answer that is still `...`
is not wrong, only missing.
"""

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.models import vgg16

from camlib import boxes, cam


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether an answer is right, and what there is to say about it."""

    ok: bool
    message: str

    def __repr__(self) -> str:
        return ("Right: " if self.ok else "Not yet: ") + self.message


def _right(message: str) -> Verdict:
    return Verdict(True, message)


def _not_yet(message: str) -> Verdict:
    return Verdict(False, message)


def _missing(answer: Any) -> Verdict | None:
    """The verdict on an answer that has not been given: call it first in every check."""
    return _not_yet("the answer is still `...`: put yours in its place.") if answer is ... else None


# maps


def _run(function: Any, *arguments: Any) -> tuple[Any, str]:
    """What a reader's function gives, or a sentence about why it gives nothing."""
    if not callable(function):
        return None, (
            f"expected your function itself, got {type(function).__name__}: give its name, "
            "without brackets."
        )
    copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        return function(*copies), ""
    except Exception as error:
        what = " ".join(str(error).split())[:120]
        return None, f"your function stopped with {type(error).__name__}: {what}"


def _not_numbers(answer: Any) -> str:
    """A sentence about an answer that is no tensor of finite numbers, or nothing."""
    if answer is None:
        return "your function gives None: is its `return` missing?"
    if answer is ...:
        return "your function still gives `...`: put your lines in its place."
    if not isinstance(answer, Tensor):
        return f"expected a tensor, got {type(answer).__name__}."
    if answer.layout != torch.strided or answer.is_meta:
        return f"expected a plain tensor, got one of layout {answer.layout} on {answer.device}."
    if answer.is_complex() or answer.dtype == torch.bool or answer.is_quantized:
        return f"expected a tensor of real numbers, got {answer.dtype}."
    if not bool(answer.isfinite().all()):
        return "some values are not finite (NaN or infinite)."
    return ""


def _same(answer: Tensor, truth: Tensor, tolerance: float = 1e-5) -> bool:
    """Equal up to rounding, relative to the largest value."""
    if answer.shape != truth.shape:
        return False
    difference = (answer.detach().cpu().double() - truth.double()).abs().max()
    return bool(difference <= tolerance * truth.double().abs().max())


def maps_from_weights(answer: Any) -> Verdict:
    """Equation 2 for all classes as a function of features (N, K, H, W) and weight (C, K)."""
    if missing := _missing(answer):
        return missing
    chance = torch.Generator().manual_seed(3)
    features = torch.randn(2, 5, 3, 4, generator=chance)
    weight = torch.randn(6, 5, generator=chance)
    maps, trouble = _run(answer, features, weight)
    if trouble := trouble or _not_numbers(maps):
        return _not_yet(trouble)
    truth = torch.einsum("ck,nkyx->ncyx", weight, features)
    if _same(maps, truth):
        return _right(
            "no index but k is summed, and the others come in the order image, class, row, column."
        )
    per_channel = torch.einsum("ck,nkyx->nckyx", weight, features)
    slips = [
        (truth.mT, "the places are transposed, (N, C, W, H) where (N, C, H, W) was asked."),
        (truth.transpose(0, 1), "image and class are swapped, (C, N, H, W)."),
        (truth.permute(0, 2, 3, 1), "the class comes last, (N, H, W, C): move it before y and x."),
        (truth[0], "only the first image was mapped, and its dimension is gone."),
        (truth.sum((2, 3)), "the places were summed away: these are scores, equation 1."),
        (truth.mean((2, 3)), "the places were averaged away: these are scores, not maps."),
        (per_channel, "one map per class and channel, (N, C, K, H, W): the sum over k is missing."),
        (truth.softmax(1), "a softmax over the classes was applied; equation 2 has none."),
        (
            truth.flatten(2).softmax(2).reshape(truth.shape),
            "a softmax over the places was applied.",
        ),
        (truth.relu(), "the negative values are gone; equation 2 has no ReLU."),
        (truth.abs(), "the negative values became positive; equation 2 has no absolute value."),
        (per_channel.mean(2), "the channels were averaged; equation 2 sums over k."),
        (truth / 12, "the values are H W times too small: a map is not divided by its places."),
        (
            torch.einsum("ck,nkyx->ncyx", weight.abs(), features),
            "the weights lost their signs before the sum.",
        ),
        (
            torch.einsum("ck,nkyx->ncyx", weight.flip(1), features),
            "the weights meet the channels in reverse order.",
        ),
    ]
    for slip, sentence in slips:
        if _same(maps, slip):
            return _not_yet(sentence)
    if maps.shape != truth.shape:
        return _not_yet(
            f"for features (2, 5, 3, 4) and weight (6, 5) your maps have the shape "
            f"{tuple(maps.shape)}, expected (2, 6, 3, 4)."
        )
    low, high = truth.amin((2, 3), True), truth.amax((2, 3), True)
    if _same(maps, (truth - low) / (high - low)) or _same(maps, truth / high):
        return _not_yet("each map was brought to a scale of its own; the score is lost with it.")
    if _same(maps.sort(1).values, truth.sort(1).values):
        return _not_yet("the maps are right, but in another order of classes than the weights.")
    gap = float((maps.detach().cpu().double() - truth.double()).abs().max() / truth.abs().max())
    return _not_yet(f"the shape is right, the values miss by up to {gap:.1g} of the largest.")


def upsampled(answer: Any) -> Verdict:
    """Bilinear upsampling with half-pixel centres, of a heatmap (H, W) to (height, width)."""
    if missing := _missing(answer):
        return missing
    chance = torch.Generator().manual_seed(4)
    heatmap, size = torch.randn(3, 5, generator=chance), (13, 30)
    larger, trouble = _run(answer, heatmap, size)
    if trouble := trouble or _not_numbers(larger):
        return _not_yet(trouble)

    def resize(values: Tensor, to: tuple[int, int], mode: str, **options: Any) -> Tensor:
        return functional.interpolate(values[None, None], size=to, mode=mode, **options)[0, 0]

    truth = resize(heatmap, size, "bilinear", align_corners=False)
    if _same(larger, truth):
        return _right("values, alignment and border agree with `cam.upsample`.")
    if _same(larger, truth.T):
        return _not_yet(
            "your map has the right values but its axes are swapped, (width, height) where "
            "(height, width) was asked. `permute` or `.T` somewhere before the interpolation?"
        )
    if larger.shape != truth.shape:
        return _not_yet(
            f"your map has the shape {tuple(larger.shape)}, expected {size}, (height, width)."
        )
    rows = (torch.arange(13) * 3 / 13, torch.arange(30) * 5 / 30)  # without the half pixels
    no_half = _read_at(heatmap, *rows)
    padded = functional.pad(heatmap, (1, 1, 1, 1))
    outside = _read_at(
        padded, *((r + (n / m - 1) / 2 + 1) for r, n, m in zip(rows, (3, 5), (13, 30), strict=True))
    )
    slips = [
        (
            resize(heatmap, size, "nearest"),
            "each pixel copies one cell: that is nearest neighbour.",
        ),
        (
            resize(heatmap, size, "bilinear", align_corners=True),
            "the corner cells' centres lie on the corner pixels' (align_corners=True); here cells "
            "and pixels are areas over the same square.",
        ),
        (resize(heatmap, size, "bicubic", align_corners=False), "that is bicubic, not bilinear."),
        (no_half, "the map is shifted: pixel i was read at i W / w, without the two halves."),
        (
            outside,
            "outside the outermost centres the map fades to zero; there the border cell's "
            "value goes on.",
        ),
        (truth.relu(), "the negative values are gone."),
        (truth.flip(0), "the map is upside down."),
        (truth.flip(1), "the map is mirrored."),
        (
            resize(heatmap.T, size, "bilinear", align_corners=False),
            "the heatmap was transposed before the interpolation.",
        ),
        (
            (truth - truth.min()) / (truth.max() - truth.min()),
            "the values were brought to 0 ... 1.",
        ),
        (
            (truth - heatmap.min()) / (heatmap.max() - heatmap.min()),
            "the heatmap was brought to 0 ... 1.",
        ),
        (truth / truth.max(), "the values were divided by their maximum."),
        (truth / heatmap.max(), "the heatmap was divided by its maximum."),
    ]
    for slip, sentence in slips:
        if _same(larger, slip):
            return _not_yet(sentence)
    inner = (slice(2, -2), slice(3, -3))  # within the outermost centres
    if _same(larger[inner], truth[inner]):
        return _not_yet(
            "the inside is right, the border is not: there the border cell's value goes on."
        )
    gap = float((larger.detach().cpu().double() - truth.double()).abs().max() / truth.abs().max())
    return _not_yet(f"the shape is right, the values miss by up to {gap:.1g} of the largest.")


def _read_at(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear reading of `values` at fractional rows and columns, clamped to its edge."""
    for dim, place in ((0, rows), (1, columns)):
        last = values.shape[dim] - 1
        place = place.clamp(0, last)
        low = place.floor().long()
        high = (low + 1).clamp(max=last)
        share = (place - low).reshape(-1, 1) if dim == 0 else place - low
        values = (
            values.index_select(dim, low) * (1 - share) + values.index_select(dim, high) * share
        )
    return values


def empty_map_twin(answer: Any, network: Any, class_name: Any) -> Verdict:
    """Weights (C, K) that give every probability unchanged and a zero map for one class."""
    if missing := _missing(answer):
        return missing
    weight = network.get_classifier().weight.detach().cpu().double()
    index = class_name if isinstance(class_name, int) else network.classes.index(class_name)
    if trouble := _not_numbers(answer):
        return _not_yet(trouble.replace("your function gives", "the answer is"))
    if answer.shape != weight.shape:
        row = " One vector is not enough: give the weights of all classes."
        return _not_yet(
            f"expected weights of shape {tuple(weight.shape)}, (C, K), got {tuple(answer.shape)}."
            + (row if answer.shape == weight.shape[1:] else "")
        )
    twin = answer.detach().cpu().double()
    size = weight.abs().max()
    added = twin - weight
    common = added.mean(0)
    empty = bool(twin[index].abs().max() <= 1e-5 * size)
    same = bool((added - common).abs().max() <= 1e-5 * size)
    if empty and same:
        return _right(
            f'the map of "{class_name}" is zero for every image, and no probability of any image '
            "has changed."
        )
    if bool(added.abs().max() <= 1e-5 * size):
        return _not_yet("these are the network's own weights, so nothing has changed.")
    if same and bool((common - weight[index]).abs().max() <= 1e-5 * size):
        return _not_yet(f'the sign is wrong: the map of "{class_name}" has doubled.')
    if same:
        others = (twin.abs().amax(1) <= 1e-5 * size).nonzero().flatten().tolist()
        other = f" It is the map of class {others[0]} that is zero." if others else ""
        return _not_yet(
            f'no probability changes, but the map of "{class_name}" is not zero.' + other
        )
    if empty:
        return _not_yet(
            f'the map of "{class_name}" is zero, but the other classes did not get the same '
            "change, so the probabilities are different now."
        )
    return _not_yet("the classes did not all get the same change, so the probabilities differ.")


def identity_test(answer: Any) -> Verdict:
    """A function (features, weight, bias, logits) -> bool that accepts a head exactly if it
    averages and is linear: mean(map) + bias == logit up to rounding."""
    if missing := _missing(answer):
        return missing
    said: list[tuple[bool, bool, str]] = []
    for arguments, expected, sentence in _heads():
        value, trouble = _run(answer, *arguments)
        if trouble:
            return _not_yet(trouble)
        if isinstance(value, Tensor) and value.ndim == 0 and value.dtype == torch.bool:
            value = bool(value)
        if value is None or value is ...:
            return _not_yet(_not_numbers(value))
        if type(value).__name__ not in ("bool", "bool_"):
            return _not_yet(
                f"expected one True or False for the whole batch, got {type(value).__name__}"
                + (f" of shape {tuple(value.shape)}." if isinstance(value, Tensor) else ".")
            )
        said.append((bool(value), expected, sentence))
    if all(value for value, *_ in said):
        return _not_yet("your function accepts every head, also those that are wrong.")
    if not any(value for value, *_ in said):
        return _not_yet("your function refuses every head, also those that are right.")
    for value, expected, sentence in said:
        if value != expected:
            return _not_yet(sentence)
    return _right(f"{len(said)} heads, and your test tells the right ones from the wrong ones.")


def _heads() -> Iterator[tuple[tuple[Tensor, ...], bool, str]]:
    """Heads as (features, weight, bias, logits), whether they are right, what a miss means."""
    chance = torch.Generator().manual_seed(5)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    features, weight, bias = numbers(2, 64, 4, 5).abs(), numbers(6, 64), numbers(6)
    maps = torch.einsum("ck,nkyx->ncyx", weight, features)
    logits = features.mean((2, 3)) @ weight.T + bias
    size = maps.abs().amax((2, 3)) + bias.abs()

    yield (
        (features, weight, bias, logits - bias),
        False,
        "it accepts scores without the bias, though the head has one: add b_c to the mean.",
    )
    yield (
        (features, weight, bias, logits),
        True,
        "it refuses an average and a linear layer with a bias: is the bias added to the mean? Is "
        "rounding allowed for?",
    )
    yield (
        (features, weight, bias, maps.sum((2, 3)) + bias),
        False,
        "it accepts sums over the places as scores; this head should average.",
    )
    yield (
        (features, weight, bias, maps.amax((2, 3)) + bias),
        False,
        "it accepts a head with max pooling after the weights.",
    )
    yield (
        (features, weight, bias, features.amax((2, 3)) @ weight.T + bias),
        False,
        "it accepts a head with max pooling before the weights.",
    )
    hidden = (features.mean((2, 3)) @ numbers(64, 64)).relu()
    yield (
        (features, weight, bias, hidden @ weight.T + bias),
        False,
        "it accepts a head of two layers.",
    )
    yield (
        (features, weight, bias, logits.roll(1, 1)),
        False,
        "it accepts scores in another order of classes: compare class by class.",
    )
    yield (
        (features, weight, bias, logits.flip(0)),
        False,
        "it accepts the scores of another image: compare image by image.",
    )
    for sign in (1, -1):
        one = torch.zeros_like(logits)
        one[1, 4] = sign * 0.01
        yield (
            (features, weight, bias, logits + one * size),
            False,
            "it accepts one score of twelve that is off, by one hundredth of its map: every class "
            "of every image must agree, and too high is as wrong as too low.",
        )
    pair = torch.zeros_like(logits)
    pair[0, 0], pair[0, 1] = 0.01 * size.max(), -0.01 * size.max()
    yield (
        (features, weight, bias, logits + pair),
        False,
        "it accepts two scores that are off in opposite directions: take |difference| before any "
        "mean or sum.",
    )
    for scale in (1e-3, 1e-6):
        yield (
            (features * scale, weight, bias * scale, logits * scale + 1e-3 * scale * size),
            False,
            f"it accepts scores of size {scale:.0e} that are off by a thousandth: an absolute "
            "tolerance is blind there. Divide by the size of the map.",
        )
        yield (
            (features * scale, weight, bias * scale, logits * scale),
            True,
            f"it refuses a right head whose scores are of size {scale:.0e}.",
        )
    yield (
        (features * 1e12, weight, bias * 1e12, logits * 1e12),
        True,
        "it refuses a right head whose scores are of size 1e12: there rounding is far above any "
        "absolute tolerance. Divide by the size of the map.",
    )
    yield (
        (features, weight, bias, logits + 1e-3 * size),
        False,
        "it accepts scores that are off by a thousandth of the map in float32: too loose.",
    )
    first = features[:1]
    balance = -(first.mean((2, 3)) @ weight.T)[0]
    yield (
        (first, weight, balance, first.mean((2, 3)) @ weight.T + balance + 1e-7 * size[:1]),
        True,
        "it refuses a right head whose map and bias cancel, so that the score is nearly zero: "
        "rounding is relative to the map, not to the score.",
    )
    small = features * 1e-5
    lower = small.mean((2, 3)) @ weight.T + bias  # the neighbouring float is as right
    yield (
        (small, weight, bias, torch.nextafter(lower, lower + 1)),
        True,
        "it refuses a right head whose bias is far larger than its map: what is added is the map "
        "and the bias, so the size is max|M| + |b|.",
    )
    half = [t.half() for t in (features, weight, bias)]
    exact = half[0].float().mean((2, 3)) @ half[1].float().T + half[2].float()
    yield (
        (*half, exact.half()),
        True,
        "it refuses a right head in float16: there rounding is a thousandth of the score.",
    )
    yield (
        (*half, (exact + 0.1 * size).half()),
        False,
        "it accepts scores that are off by a tenth of the map in float16: too loose.",
    )
    lost = logits.clone()
    lost[0, 0] = torch.nan
    yield (
        (features, weight, bias, lost),
        False,
        "it accepts a score that is NaN: NaN > tolerance is False. Ask for error <= tolerance.",
    )


# look


def _number_list(answer: Any, length: int) -> list[float] | None:
    """`length` finite numbers from a tensor, array or sequence, or None where it is none."""
    try:
        numbers = torch.as_tensor(answer, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return None
    return numbers.tolist() if numbers.shape == (length,) and numbers.isfinite().all() else None


def _device(network: Any) -> torch.device:
    device: torch.device = next(network.parameters()).device
    return device


@torch.no_grad()
def photo_map(answer: Any, network: Any, images: Tensor, name: str) -> Verdict:
    """Exercise: the map of one class, from the features and the classifier's weights, by hand."""
    if missing := _missing(answer):
        return missing
    features = network.forward_features(images.to(_device(network)))[0].cpu().double()
    linear, c = network.get_classifier(), network.classes.index(name)
    weight, bias = linear.weight.cpu().double(), linear.bias.cpu().double()
    maps = torch.einsum("ck,khw->chw", weight, features)
    truth, (channels, height, width) = maps[c], features.shape
    if not isinstance(answer, Tensor) or not answer.is_floating_point():
        what = answer.dtype if isinstance(answer, Tensor) else type(answer).__name__
        return _not_yet(f"got {what}, expected a tensor of floats, one number for each place.")
    if answer.shape != truth.shape:
        asked = f"The map of one class is ({height}, {width})."
        hints = {
            (1, height, width): "the values may be right, but take the one image out of its batch",
            tuple(features.shape): "the sum over the channels is missing",
            tuple(maps.shape): f'those are the maps of all classes: take the one of "{name}"',
            (height * width,): "the places stand in one row",
            tuple(images.shape[2:]): "it is upsampled already, and the raw cells are asked",
            (): "one number has no places left: sum over the channels only",
        }
        hint = hints.get(tuple(answer.shape), "sum over the channels, and over nothing else")
        return _not_yet(f"your answer has the shape {tuple(answer.shape)}: {hint}. {asked}")
    given = answer.detach().cpu().double()
    if not given.isfinite().all():
        return _not_yet("your map has values that are not finite (NaN or infinite).")

    def same(other: Tensor) -> bool:
        return bool((given - other).abs().max() <= 1e-5 * other.abs().max())

    if same(truth):
        return _right(f'this is the map of "{name}": its mean plus the bias is the logit.')
    soft = [torch.einsum("k,khw->hw", weight.softmax(d)[c], features) for d in (0, 1)]
    if same(truth.T):
        return _not_yet("the values are right, but rows and columns are swapped.")
    if same(truth + bias[c]):
        return _not_yet("the bias is added at every place: it belongs to the logit, not to a map.")
    if same(truth.relu()):
        return _not_yet("the negative values are cut off: they lower the logit too, so keep them.")
    if any(same(s) for s in soft):
        return _not_yet("softmax was applied to the weights: take them as they are.")
    if same(features.mean(0)) or same(features.sum(0)):
        return _not_yet("the channels are added without weights, so no class comes in.")
    nearest = int((maps - given).abs().amax(dim=(1, 2)).argmin())
    if same(maps[nearest]):
        return _not_yet(f'this is the map of "{network.classes[nearest]}", not of "{name}".')
    if same(truth / channels):
        return _not_yet("the channels are averaged: equation 2 sums over them.")
    likeness = float(torch.corrcoef(torch.stack([truth.flatten(), given.flatten()]))[0, 1])
    if likeness > 0.9999:
        return _not_yet("the pattern is right, the scale is not: leave the values as they come.")
    if likeness < -0.9999:
        return _not_yet("the pattern is right, but upside down: there is a sign too many.")
    return _not_yet(
        "the values are others than sum_k w_k^c f_k(x, y). Which index belongs to the class, and "
        "which to the channels?"
    )


def _class_index(answer: Any, names: Any) -> int | str:
    """The index of a class given by name or index, or a sentence on why there is none."""
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.item()
    if isinstance(answer, str):
        try:
            return int(names.index(answer))
        except ValueError as error:
            return f"{error}."
    try:
        index = -1 if isinstance(answer, bool) else operator.index(answer)
    except TypeError:
        return f"got {type(answer).__name__}, expected the name of a class, or its index."
    if not 0 <= index < len(names):
        return f"there is no class {index}: they go from 0 to {len(names) - 1}."
    return index


@torch.no_grad()
def strongest_in_box(answer: Any, network: Any, image: Image.Image, box: Sequence[int]) -> Verdict:
    """Exercise: of all classes, the one whose map has the largest value inside a box of a photo."""
    if missing := _missing(answer):
        return missing
    names = network.classes
    c = _class_index(answer, names)
    if isinstance(c, str):
        return _not_yet(c)
    images = network.transform(image)[None]
    every = torch.arange(len(names))[None]
    result = cam.class_activation_maps(network, images, every)
    maps = cam.upsample(result.maps[0], images.shape[-1])
    whole = tv_tensors.BoundingBoxes(
        [list(map(float, box))], format="XYXY", canvas_size=(image.height, image.width)
    )
    seen = network.transform.geometry()(whole)[0].round().int().tolist()

    def largest(edges: Sequence[int]) -> Tensor:
        x0, y0, x1, y1 = (min(max(edge, 0), images.shape[-1] - 1) for edge in edges)
        return maps[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].amax(dim=(1, 2))

    inside = largest(seen)
    x0, y0, x1, y1 = seen
    best = int(inside.argmax())
    if c == best:
        return _right(f'"{names[c]}" reaches more there than any other class.')
    positive = maps.relu()
    mass = positive.sum(dim=(1, 2))
    share = positive[:, y0:y1, x0:x1].sum(dim=(1, 2)) / mass
    it = f'"{names[c]}"'
    if mass[c] == 0:
        return _not_yet(
            f"the map of {it} is nowhere positive: a share of nothing is 0/0, NaN, and argmax "
            "takes NaN for the largest."
        )
    if c == int(maps.amax(dim=(1, 2)).argmax()):
        return _not_yet(f"{it} has the largest value of the whole picture: cut the box out first.")
    if c == int(result.logits[0].argmax()):
        return _not_yet(f"{it} has the highest logit. The box has not come in yet.")
    if c == int(share.nan_to_num(0).argmax()):
        return _not_yet(
            f"{it} has the largest *share* of its own map inside the box, but of a weak map: its "
            f"largest value there is {inside[c]:.1f}. The largest value is asked."
        )
    if c == int(maps[:, y0:y1, x0:x1].mean(dim=(1, 2)).argmax()):
        return _not_yet(f"{it} has the largest *mean* in the box; the largest value is asked.")
    if c == int(largest(box).argmax()):
        return _not_yet("the box is still in pixels of the photo: carry it to the view first.")
    if c == int(largest([y0, x0, y1, x1]).argmax()):
        return _not_yet("x and y are swapped: a map is indexed [y, x], a box is (x0, y0, x1, y1).")
    return _not_yet(
        f"the map of {it} reaches {inside[c]:.1f} inside the box, and another class reaches more."
    )


def share_over_area(function: Any) -> Verdict:
    """Exercise: a function (heatmap, box) -> share of the map in the box minus share of area."""
    if missing := _missing(function):
        return missing

    def share(heatmap: Tensor, box: list[int], end: int = 0) -> float:
        x0, y0, x1, y1 = box
        inside = heatmap[y0 : y1 + end, x0 : x1 + end].sum() / heatmap.sum()
        return float(inside)

    chance = torch.Generator().manual_seed(0)
    slips: dict[str, list[float]] = {}
    given, truths, inputs = [], [], []
    for box in ([2, 3, 9, 15], [0, 0, 20, 5], [11, 6, 22, 14]):
        heatmap = torch.randn(16, 24, generator=chance) + 0.3
        value, trouble = _run(function, heatmap, torch.tensor(box))
        if trouble:
            return _not_yet(f"{trouble} (for a map of 16 x 24 and the box {box}).")
        try:
            given.append(float(value))
        except (TypeError, ValueError, RuntimeError, OverflowError):
            return _not_yet(f"your function gives {type(value).__name__}, expected one number.")
        x0, y0, x1, y1 = box
        positive, pixels = heatmap.double().relu(), (x1 - x0) * (y1 - y0)
        part, area = share(positive, box), pixels / heatmap.numel()
        larger = (x1 - x0 + 1) * (y1 - y0 + 1) / heatmap.numel()
        truths.append(part - area)
        inputs.append(f"a random map of 16 x 24 and the box {box}")
        for sentence, number in {
            "this is the share of the map alone: subtract the share of the area.": part,
            "this is the share of the area minus that of the map, the other way round.": area
            - part,
            "the share of the map is divided by that of the area: subtract.": part / area,
            "negative values are counted: set them to zero first.": share(heatmap.double(), box)
            - area,
            "one row and one column too many: a box is half-open, x1 is not in it.": share(
                positive, box, 1
            )
            - larger,
            "the area is in pixels: divide it by the number of pixels of the map.": part - pixels,
            "x and y are swapped: a map is indexed [y, x], a box is (x0, y0, x1, y1).": share(
                positive.T, box
            )
            - area,
        }.items():
            slips.setdefault(sentence, []).append(number)

    def same(numbers: list[float]) -> bool:
        return all(abs(g - n) <= 1e-5 for g, n in zip(given, numbers, strict=True))

    if same(truths):
        return _right("zero says: no better than a map that is the same everywhere.")
    for sentence, numbers in slips.items():
        if same(numbers):
            return _not_yet(sentence)
    worst = max(range(len(given)), key=lambda i: abs(given[i] - truths[i]))
    if not math.isfinite(given[worst]):
        return _not_yet(f"for {inputs[worst]} your function gives {given[worst]}.")
    direction = "too much" if given[worst] > truths[worst] else "too little"
    return _not_yet(
        f"for {inputs[worst]} your function gives {given[worst]:.4f}, which is {direction}."
    )


@torch.no_grad()
def box_with_other_crop(
    answer: Any, network: Any, image: Image.Image, name: str, crop: float
) -> Verdict:
    """Exercise: the box of a class, in pixels of the photo, where the transform cuts otherwise."""
    if missing := _missing(answer):
        return missing
    numbers = _number_list(answer, 4)
    if numbers is None:
        return _not_yet("expected four finite numbers, (x0, y0, x1, y1) in pixels of the photo.")
    usual = network.transform
    other = replace(usual, crop=crop)

    def view_box(transform: Any, c: Any, low: float = 0.0) -> Tensor:
        images = transform(image)[None].to(_device(network))
        heatmap = cam.class_activation_maps(network, images, c).maps[0, 0]
        heatmap = cam.upsample(heatmap, transform.size)
        return boxes.box_from_map(heatmap - low * heatmap.min())

    def same(box: Tensor) -> bool:
        return bool((torch.tensor(numbers) - box).abs().max() <= 1)

    seen = view_box(other, [name])
    truth = other.box_in_photo(seen, image.size)
    if same(truth):
        return _right(
            f"this is the box that the cut with crop {crop} gives, in pixels of the photo."
        )
    if same(usual.box_in_photo(view_box(usual, [name]), image.size)):
        return _not_yet(f"this is the box for crop {usual.crop}, with the network's own transform.")
    if same(usual.box_in_photo(seen, image.size)):
        return _not_yet(
            "the box is carried back with the network's own transform: use the one that cut."
        )
    if same(seen):
        return _not_yet("this box is in pixels of the view: carry it back to the photo.")
    if same(other.box_in_photo(view_box(other, [name], low=1.0), image.size)):
        return _not_yet(
            "the minimum was subtracted before the threshold: 20 % of the maximum means another "
            "place then."
        )
    x0, y0, x1, y1 = truth.tolist()
    if same(torch.tensor([x0, y0, x1 - x0, y1 - y0])):
        return _not_yet("this is x, y, width, height: give (x0, y0, x1, y1).")
    if same(torch.tensor([y0, x0, y1, x1])):
        return _not_yet("x and y are swapped: a box is (x0, y0, x1, y1).")
    return _not_yet(
        f'this is not the box at 20 % of the maximum of the map of "{name}", upsampled to the '
        f"view, for crop {crop}."
    )


# fc_gap


def _values(function: Any, *arguments: Any) -> tuple[Any, Verdict | None]:
    """The tensor that the reader's function gives, in float64, or why it cannot be judged."""
    if missing := _missing(function):
        return None, missing
    answer, why = _run(function, *arguments)
    if why := why or _not_numbers(answer):
        return None, _not_yet(why)
    return answer.detach().cpu().double(), None


def fc6_of_vgg16_at_448(answer: Any) -> Verdict:
    """Parameters of VGG-16's first FC layer for 448 x 448 images, without adaptive pooling."""
    if missing := _missing(answer):
        return missing
    try:
        given = float(answer)
    except Exception:
        given = float("nan")
    if isinstance(answer, bool | str | bytes) or not given.is_integer():
        return _not_yet("expected one whole number, the count of weights and biases.")
    with torch.device("meta"):
        network = vgg16(weights=None)
        small = network.features(torch.empty(1, 3, 224, 224)).numel()
        pool5 = network.features(torch.empty(1, 3, 448, 448))
        conv5 = network.features[:-1](torch.empty(1, 3, 448, 448))
    units = network.classifier[0].out_features
    truth = pool5.numel() * units + units
    if given == truth:
        return _right(
            f"{pool5.shape[1]} x {pool5.shape[2]} x {pool5.shape[3]} numbers, each with a weight "
            f"to each of {units} units, and a bias per unit: {truth:,}."
        )
    if given == truth - units:
        return _not_yet("these are the weights; each unit has a bias too.")
    if given in (small * units, small * units + units):
        return _not_yet("that is FC6 at 224 x 224: how large is the map that pool5 gives at 448?")
    if given in (2 * small * units, 2 * small * units + units):
        return _not_yet("twice the side is twice the rows and twice the columns.")
    if given in (conv5.numel() * units, conv5.numel() * units + units):
        return _not_yet("that is the map before pool5: the pooling halves it once more.")
    return _not_yet(
        "FC6 has one weight per unit for every number in the flattened map, and one bias per unit. "
        "Start from the shape of `features` for a 448 x 448 image."
    )


def fc_weights_of_gap(function: Any) -> Verdict:
    """GAP and a linear layer written as one FC layer: (weight (C, K), H, W) -> (C, K * H * W)."""
    generator = torch.Generator().manual_seed(2)
    for c, k, h, w in ((3, 5, 2, 4), (2, 3, 3, 3)):
        weight = torch.randn(c, k, generator=generator)
        answer, verdict = _values(function, weight, h, w)
        if verdict:
            return verdict
        if answer.shape != (c, k * h * w):
            return _not_yet(
                f"for weights of shape {(c, k)} and a map of {h} x {w} your answer has shape "
                f"{tuple(answer.shape)}, expected {(c, k * h * w)}: a row per class, a column "
                "per number of the flattened map."
            )
        shared = weight.double()
        truth = shared.repeat_interleave(h * w, dim=1) / (h * w)
        if _same(answer, truth):
            continue
        if _same(answer, truth * h * w):
            return _not_yet(
                "these weights give the sum over the places: GAP averages, so the logit comes out "
                "H x W times too large."
            )
        tiled = shared.repeat(1, h * w)
        if _same(answer, tiled) or _same(answer, tiled / (h * w)):
            return _not_yet(
                "right numbers, wrong order: flatten goes channel by channel, so the H x W places "
                "of channel 0 come first, then those of channel 1."
            )
        return _not_yet(
            "the logits differ from those of GAP and the linear layer. Every place of channel k "
            "gets the same weight: which, so that the sum over the places is the average?"
        )
    return _right("one weight per channel, the same at every place, divided by their number.")


def contributions_by_place(function: Any) -> Verdict:
    """One FC layer taken apart by place: (features, weight, bias) -> (C, H, W)."""
    generator = torch.Generator().manual_seed(3)
    for c, k, h, w in ((3, 5, 2, 4), (2, 6, 3, 3)):
        features = torch.rand(k, h, w, generator=generator)
        weight = torch.randn(c, k * h * w, generator=generator)
        bias = torch.randn(c, generator=generator) + 1
        answer, verdict = _values(function, features, weight, bias)
        if verdict:
            return verdict
        if answer.shape == (c, w, h) and h != w:
            return _not_yet("rows and columns are swapped: (C, W, H) where (C, H, W) was asked.")
        if answer.shape != (c, h, w):
            return _not_yet(
                f"for {c} classes and a map of {h} x {w} your answer has shape "
                f"{tuple(answer.shape)}, expected {(c, h, w)}."
            )
        f, own, b = features.double(), weight.double(), bias.double()[:, None, None]
        truth = (own.reshape(c, k, h, w) * f).sum(dim=1)
        if _same(answer, truth):
            continue
        if _same(answer, truth + b) or _same(answer, truth + b / (h * w)):
            return _not_yet("leave the bias out: it belongs to no place.")
        if any(_same(answer, truth / n) for n in (k, h * w, k * h * w)):
            return _not_yet("these are averages: add up over the channels, and divide by nothing.")
        last = (own.reshape(c, h, w, k) * f.permute(1, 2, 0)).sum(dim=3)
        if _same(answer, last):
            return _not_yet(
                "the weights are read in the wrong order: flatten goes channel by channel, then "
                "row by row, so a row of the weight has the layout (K, H, W)."
            )
        if _same(answer, (own.reshape(c, k, w, h).transpose(2, 3) * f).sum(dim=1)):
            return _not_yet("the weights' rows and columns are swapped: their layout is (K, H, W).")
        same = own.reshape(c, k, h * w)
        if any(
            _same(answer, torch.einsum("ck,khw->chw", one, f))
            for one in (same.mean(dim=2), same.sum(dim=2), same[:, :, 0])
        ):
            return _not_yet("one weight per channel is GAP's way: here each place has its own.")
        if _same(answer.sum(dim=(1, 2)), truth.sum(dim=(1, 2))):
            return _not_yet(
                "the places add up to the logit without its bias, but the shares are wrong: the "
                "share of a place is what the logit loses when that place is set to zero."
            )
        return _not_yet(
            "the places do not add up to the logit without its bias. Multiply each number of the "
            "map by its own weight, then add up over the channels only."
        )
    return _right("the shares of the places and the bias add up to the logit, for every class.")


def blind_but_not_additive(head: Any) -> Verdict:
    """A head (N, K, H, W) -> (N,) that ignores where cells are, and is no sum over them."""
    generator = torch.Generator().manual_seed(4)
    n, k, h, w = 6, 4, 3, 5
    features = torch.randn(n, k, h, w, generator=generator)

    def score(maps: Tensor) -> Tensor:
        answer, verdict = _values(head, maps)
        if verdict is None and answer.shape != (len(maps),):
            verdict = _not_yet(
                f"for {len(maps)} maps your head gives shape {tuple(answer.shape)}, expected "
                f"{(len(maps),)}: one score per image."
            )
        if verdict:
            raise _Stop(verdict)
        scores: Tensor = answer
        return scores

    try:
        scores = score(features)
        scale = scores.abs().max() + 1e-12

        def differ(one: Tensor, other: Tensor) -> bool:
            return bool((one - other).abs().max() > 1e-5 * scale)

        if differ(score(features), scores):
            return _not_yet("the same maps get another score the second time.")
        if not differ(scores, scores.mean().expand(n)):
            return _not_yet("every image gets the same score: a constant is no head.")
        if differ(score(features[:1]), scores[:1]):
            return _not_yet("the score of an image depends on the other images of the batch.")
        for _ in range(5):
            order = torch.randperm(h * w, generator=generator)
            if differ(score(features.flatten(2)[:, :, order].reshape(n, k, h, w)), scores):
                return _not_yet(
                    "the score changes when the cells of the map are shuffled: some place is "
                    "treated differently from the others."
                )
        nothing = score(torch.zeros_like(features))
        total = torch.zeros_like(scores)
        for place in range(h * w):
            alone = torch.zeros_like(features).flatten(2)
            alone[:, :, place] = features.flatten(2)[:, :, place]
            total += score(alone.reshape(n, k, h, w)) - nothing
        if not bool((total - (scores - nothing)).abs().max() > 1e-3 * (total.abs().max() + scale)):
            return _not_yet(
                "the score does not depend on the arrangement, but it is still a sum of one share "
                "per place, as with average pooling and a linear layer."
            )
    except _Stop as stop:
        return stop.verdict
    return _right("the arrangement is lost, and the score is no sum of one share per place either.")


class _Stop(Exception):  # noqa: N818  (ends a check from within, is no error)
    def __init__(self, verdict: Verdict):
        self.verdict = verdict
