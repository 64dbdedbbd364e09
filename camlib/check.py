"""Self-checks of the exercises: each says in words what is wrong with an answer.

A check returns a `Verdict`, which a notebook shows as its message. An answer that is still `...`
is not wrong, only missing.
"""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torchvision import tv_tensors

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
            truth.flatten(2).softmax(2).unflatten(2, (3, 4)),
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
    yield (
        (small, weight, bias, small.mean((2, 3)) @ weight.T + bias),
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


@torch.no_grad()
def photo_map(answer: Any, network: Any, images: Tensor, name: str) -> Verdict:
    """Exercise: the map of one class, from the features and the classifier's weights, by hand."""
    if missing := _missing(answer):
        return missing
    features = network.forward_features(images)[0].double()
    linear = network.get_classifier()
    weight, bias, c = linear.weight.double(), linear.bias.double(), network.classes.index(name)
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
    given = answer.detach().double().cpu()
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
    whole = tv_tensors.BoundingBoxes(  # type: ignore[call-arg]
        [list(map(float, box))], format="XYXY", canvas_size=(image.height, image.width)
    )
    seen = network.transform.geometry()(whole)[0].round().int().tolist()

    def largest(edges: Sequence[int]) -> Tensor:
        x0, y0, x1, y1 = (min(max(edge, 0), images.shape[-1] - 1) for edge in edges)
        return maps[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].amax(dim=(1, 2))

    inside, x0, y0, x1, y1 = largest(seen), *seen
    best = int(inside.argmax())
    if c == best:
        return _right(f'"{names[c]}" reaches {inside[c]:.1f} there, more than any other class.')
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
    if not callable(function):
        return _not_yet(f"got {type(function).__name__}, expected a function of a map and a box.")

    def share(
        heatmap: Tensor, box: Tensor, cut: bool = True, end: int = 0
    ) -> tuple[float, float, float]:
        x0, y0, x1, y1 = box.tolist()
        kept = heatmap.double().relu() if cut else heatmap.double()
        inside = kept[y0 : y1 + end, x0 : x1 + end].sum() / kept.sum()
        pixels = (x1 - x0 + end) * (y1 - y0 + end)
        return float(inside), pixels / heatmap.numel(), float(pixels)

    generator = torch.Generator().manual_seed(0)
    boxes = ([2, 3, 9, 15], [0, 0, 20, 5], [11, 6, 22, 14])
    cases = [(torch.randn(16, 24, generator=generator) + 0.3, torch.tensor(b)) for b in boxes]
    given = []
    for heatmap, box in cases:
        try:
            value = function(heatmap.clone(), box.clone())
        except Exception as error:  # whatever a reader's function raises
            return _not_yet(
                f"your function stops with {type(error).__name__}: {error}. It is called with a "
                "map (H, W), here (16, 24), and a box of four integers."
            )
        try:
            given.append(float(value))
        except (TypeError, ValueError, RuntimeError, OverflowError):
            return _not_yet(f"your function returns {type(value).__name__}, expected one number.")

    def same(wrong: Any) -> bool:
        return all(abs(g - wrong(*case)) <= 1e-5 for g, case in zip(given, cases, strict=True))

    def turned(heatmap: Tensor, box: Tensor) -> float:
        inside = share(heatmap.T, box)[0]
        return inside - share(heatmap, box)[1]

    if same(lambda *case: share(*case)[0] - share(*case)[1]):
        return _right("zero says: no better than a map that is the same everywhere.")
    sentences = {
        "this is the share of the map alone: subtract the share of the area.": lambda *case: share(
            *case
        )[0],
        "this is the share of the area minus that of the map: the other way round.": lambda *case: (
            share(*case)[1] - share(*case)[0]
        ),
        "this is share of the map *divided* by share of area: subtract.": lambda *case: (
            share(*case)[0] / share(*case)[1]
        ),
        "negative values are counted: set them to zero first.": lambda *case: (
            share(*case, cut=False)[0] - share(*case)[1]
        ),
        "one row and one column too many: a box is half-open, x1 is not in it.": lambda *case: (
            share(*case, end=1)[0] - share(*case, end=1)[1]
        ),
        "the area is counted in pixels: divide it by the number of pixels of the map.": (
            lambda *case: share(*case)[0] - share(*case)[2]
        ),
        "x and y are swapped: a map is indexed [y, x], a box is (x0, y0, x1, y1).": turned,
    }
    for sentence, wrong in sentences.items():
        if same(wrong):
            return _not_yet(sentence)
    (heatmap, box), shown = cases[0], given[0]
    inside, area, _ = share(heatmap, box)
    return _not_yet(
        f"for a random map and the box {box.tolist()} your function gives {shown:.4f}, expected "
        f"{inside:.4f} - {area:.4f} = {inside - area:.4f}."
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
        heatmap = cam.class_activation_maps(network, transform(image)[None], c).maps[0, 0]
        heatmap = cam.upsample(heatmap, transform.size)
        return boxes.box_from_map(heatmap - low * heatmap.min())

    def same(box: Tensor) -> bool:
        return bool((torch.tensor(numbers) - box).abs().max() <= 1)

    seen = view_box(other, [name])
    truth = other.box_in_photo(seen, image.size)
    if same(truth):
        return _right(f"with crop {crop} the box is {truth.round().int().tolist()}.")
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
