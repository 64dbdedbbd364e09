"""Self-checks of the exercises: each says in words what is wrong with an answer.

A check returns a `Verdict`, which a notebook shows as its message. An answer that is still `...`
is not wrong, only missing. How a check is written:

    @_check                                        # an answer that is missing ends here
    def centred(function: Any) -> Verdict:
        heatmap = _randn(6)(3, 4)                  # the same numbers in every run
        given = _tensor(_result(function, heatmap))
        _expect_shape(given, (3, 4), "for a map of 3 x 4 your answer has shape")
        mean = heatmap.mean()
        slips = {
            "the mean is added: subtract it.": heatmap + mean,
            "rows or columns lost a mean each.": [heatmap - heatmap.mean(d, True) for d in (0, 1)],
            "the shift is another than the mean.": bool((given - heatmap).std() < 1e-5),
        }
        _compare(given, heatmap - mean, slips)     # goes on only where they agree
        return _right("the values add up to zero.")

A slip is a wrong value that students give, a list of such values, or a bool where the mistake is
not one value. The first that fits is named, so a last one that is True speaks for all other
answers; without it they are told by how much they miss. `raise _NotYet(sentence)` ends a check
anywhere. A helper for answers of another kind stands beside `_tensor` and `_number`.
"""

import contextlib
import copy
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional
from torchvision import tv_tensors

from camlib import boxes, cam, lab, networks


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether an answer is right, and what there is to say about it."""

    ok: bool
    message: str

    def __repr__(self) -> str:
        return ("Right: " if self.ok else "Not yet: ") + self.message


def _right(message: str) -> Verdict:
    return Verdict(True, message)


class _NotYet(Exception):  # noqa: N818  (an answer that is not right yet is no error)
    """Ends a check with the sentence that says what is wrong."""


def _check(judge: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Makes a check of a function that gives the verdict "right" or raises `_NotYet`."""

    @functools.wraps(judge)
    def checked(*answers: Any, **more: Any) -> Verdict:
        if any(answer is ... for answer in (*answers, *more.values())):
            return Verdict(False, "the answer is still `...`: put yours in its place.")
        try:
            return judge(*answers, **more)
        except _NotYet as stop:
            return Verdict(False, str(stop))

    return checked


def _randn(seed: int) -> Callable[..., Tensor]:
    """A source of normal numbers, the same in every run: `_randn(0)(2, 3)` has shape (2, 3)."""
    return functools.partial(torch.randn, generator=torch.Generator().manual_seed(seed))


def _described(argument: Any) -> str:
    """Tensors by their shape, but a box or another few whole numbers as they are."""
    if isinstance(argument, nn.Module | torch.optim.Optimizer):
        return f"a {type(argument).__name__}"
    if isinstance(argument, Tensor) and (argument.is_floating_point() or argument.numel() > 4):
        return f"a tensor {tuple(argument.shape)}"
    return str(argument.tolist() if isinstance(argument, Tensor) else argument)


def _run(function: Any, *arguments: Any) -> Any:
    """What the reader's function gives for copies of the arguments."""
    if not callable(function):
        got = type(function).__name__
        raise _NotYet(f"expected your function itself, got {got}: give its name, without brackets.")
    copies = [a.clone() if isinstance(a, Tensor) else a for a in arguments]
    try:
        return function(*copies)
    except Exception as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        given = ", ".join(map(_described, arguments))
        raise _NotYet(f"your function stopped with {what} (it was given {given}).") from None


def _result(function: Any, *arguments: Any) -> Any:
    """What the reader's function gives, where it gives anything."""
    result = _run(function, *arguments)
    if result is None:
        raise _NotYet("your function gives None: is its `return` missing?")
    if result is ...:
        raise _NotYet("your function still gives `...`: put your lines in its place.")
    return result


def _tensor(answer: Any) -> Tensor:
    """A tensor of finite numbers, of any dtype and on any device, as float64 on the CPU."""
    if not isinstance(answer, Tensor):
        raise _NotYet(f"expected a tensor, got {type(answer).__name__}.")
    if answer.layout != torch.strided or answer.is_meta:
        got = f"one of layout {answer.layout} on {answer.device}"
        raise _NotYet(f"expected a plain tensor, got {got}.")
    if answer.is_complex() or answer.dtype == torch.bool or answer.is_quantized:
        raise _NotYet(f"expected a tensor of real numbers, got {answer.dtype}.")
    if not bool(answer.isfinite().all()):
        raise _NotYet("some values are not finite (NaN or infinite).")
    return answer.detach().cpu().double()


def _number(answer: Any, lead: str, expected: str = "one number") -> float:
    """A finite number, as Python, NumPy and tensors give it; `lead` opens the sentence."""
    number, got = math.nan, type(answer).__name__
    if not isinstance(answer, bool | str | bytes):
        with contextlib.suppress(Exception):  # whatever float() raises: it is no number
            number = float(answer)
            got = str(number)
    if not math.isfinite(number):
        raise _NotYet(f"{lead} {got}, expected {expected}.")
    return number


def _expect_shape(given: Tensor, shape: Sequence[int], lead: str, meaning: str = "") -> None:
    """Stops at another shape, with `lead` before the shapes and `meaning` after them."""
    if given.shape != tuple(shape):
        raise _NotYet(f"{lead} {tuple(given.shape)}, expected {tuple(shape)}{meaning}.")


def _same(given: Tensor, truth: Tensor) -> bool:
    """Equal up to rounding, relative to the largest value of the truth."""
    if given.shape != truth.shape:
        return False
    return bool((given - truth).abs().max() <= 1e-5 * truth.double().abs().max())


def _within(distance: float) -> Callable[[Tensor, Tensor], bool]:
    """Equal up to a distance, for answers whose unit is known."""
    return lambda given, truth: bool((given - truth).abs().max() <= distance)


def _refuse(given: Any, slips: Mapping[str, Any], same: Callable[..., bool] = _same) -> None:
    """Stops with the sentence of the first slip that fits: a value, a list of them, or a bool."""
    for sentence, slip in slips.items():
        known = slip if isinstance(slip, list) else [slip]
        if any(one if isinstance(one, bool) else same(given, one) for one in known):
            raise _NotYet(sentence)


def _compare(
    given: Any, truth: Any, slips: Mapping[str, Any], same: Callable[..., bool] = _same
) -> None:
    """Stops unless the answer is the truth, with the sentence of the slip that it is."""
    if not same(given, truth):
        _refuse(given, slips, same)
        gap = float((given - truth).abs().max() / truth.abs().max())
        raise _NotYet(f"the shape is right, the values miss by up to {gap:.1g} of the largest.")


# Chapter 1: what does a network look at?


@_check
@torch.no_grad()
def photo_map(answer: Any, network: Any, images: Tensor, name: str) -> Verdict:
    """The map of one class, from the features and the classifier's weights, by hand."""
    if not isinstance(answer, Tensor) or not answer.is_floating_point():
        got = answer.dtype if isinstance(answer, Tensor) else type(answer).__name__
        raise _NotYet(f"got {got}, expected a tensor of floats, one number for each place.")
    given = _tensor(answer)
    device = next(network.parameters()).device
    features = network.forward_features(images.to(device))[0].cpu().double()
    linear, c = network.get_classifier(), network.classes.index(name)
    weight, bias = linear.weight.cpu().double(), linear.bias.cpu().double()
    maps = torch.einsum("ck,khw->chw", weight, features)
    truth, (channels, height, width) = maps[c], features.shape
    hints = {
        (1, height, width): "the values may be right, but take the one image out of its batch",
        tuple(features.shape): "the sum over the channels is missing",
        tuple(maps.shape): f'those are the maps of all classes: take the one of "{name}"',
        (height * width,): "the places stand in one row",
        tuple(images.shape[2:]): "it is upsampled already, and the raw cells are asked",
        (): "one number has no places left: sum over the channels only",
    }
    hint = hints.get(tuple(given.shape), "sum over the channels, and over nothing else")
    _expect_shape(given, truth.shape, "your answer has the shape", f", (H, W): {hint}")
    soft = [torch.einsum("k,khw->hw", weight.softmax(d)[c], features) for d in (0, 1)]
    nearest = int((maps - given).abs().amax((1, 2)).argmin())
    likeness = float(torch.corrcoef(torch.stack([truth.flatten(), given.flatten()]))[0, 1])
    sums = [features.mean(0), features.sum(0)]
    slips = {
        "the values are right, but rows and columns are swapped.": truth.T,
        "the bias is added at every place: it belongs to the logit, not to a map.": truth + bias[c],
        "the negative values are cut off: they lower the logit too, so keep them.": truth.relu(),
        "softmax was applied to the weights: take them as they are.": soft,
        "the channels are added without weights, so no class comes in.": sums,
        f'this is the map of "{network.classes[nearest]}", not of "{name}".': maps[nearest],
        "the channels are averaged: equation 2 sums over them.": truth / channels,
        "the pattern is right, the scale is not: leave the values as they come.": likeness > 0.9999,
        "the pattern is right, but upside down: there is a sign too many.": likeness < -0.9999,
        "the values are others than sum_k w_k^c f_k(x, y). Which index belongs to the class, and "
        "which to the channels?": True,
    }
    _compare(given, truth, slips)
    return _right(f'this is the map of "{name}": its mean plus the bias is the logit.')


def _class_index(answer: Any, names: Any) -> int:
    """The index of a class given by name or index."""
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.item()
    try:
        index = names.index(answer) if isinstance(answer, str) else operator.index(answer)
    except ValueError as error:
        raise _NotYet(f"{error}.") from None
    except TypeError:
        got = type(answer).__name__
        raise _NotYet(f"got {got}, expected the name of a class, or its index.") from None
    if isinstance(answer, bool) or not 0 <= index < len(names):
        raise _NotYet(f"there is no class {answer}: they go from 0 to {len(names) - 1}.")
    return int(index)


@_check
@torch.no_grad()
def strongest_in_box(answer: Any, network: Any, image: Image.Image, box: Sequence[int]) -> Verdict:
    """Of all classes, the one whose map has the largest value inside a box of a photo."""
    names = network.classes
    c = _class_index(answer, names)
    images = network.transform(image)[None]
    result = cam.class_activation_maps(network, images, torch.arange(len(names))[None])
    maps = cam.upsample(result.maps[0], images.shape[-1])
    size = (image.height, image.width)
    whole = tv_tensors.BoundingBoxes(
        [list(box)], format="XYXY", canvas_size=size, dtype=torch.float
    )
    x0, y0, x1, y1 = network.transform.geometry()(whole)[0].round().int().tolist()

    def largest(*edges: int) -> Tensor:
        x0, y0, x1, y1 = (min(max(edge, 0), images.shape[-1] - 1) for edge in edges)
        return maps[:, y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].amax((1, 2))

    inside, overall, swapped = largest(x0, y0, x1, y1), maps.amax((1, 2)), largest(y0, x0, y1, x1)
    cut, mass = maps[:, y0:y1, x0:x1], maps.relu().sum((1, 2))
    share = (cut.relu().sum((1, 2)) / mass).nan_to_num(0)
    it, there = f'"{names[c]}"', f"{inside[c]:.1f}"
    slips = {
        f"the map of {it} is nowhere positive: a share of nothing is 0/0, NaN, and argmax takes "
        "NaN for the largest.": bool(mass[c] == 0),
        f"{it} has the largest value of the whole picture: cut the box out first.": overall,
        f"{it} has the highest logit. The box has not come in yet.": result.logits[0],
        f"{it} has the largest *share* of its own map inside the box, but of a weak map: its "
        f"largest value there is {there}. The largest value is asked.": share,
        f"{it} has the largest *mean* in the box; the largest value is asked.": cut.mean((1, 2)),
        "the box is still in pixels of the photo: carry it to the view first.": largest(*box),
        "x and y are swapped: a map is indexed [y, x], a box is (x0, y0, x1, y1).": swapped,
        f"the map of {it} reaches {there} inside the box, and another class reaches more.": True,
    }
    _compare(c, inside, slips, same=lambda c, values: c == int(values.argmax()))
    return _right(f"{it} reaches more there than any other class.")


@_check
def share_over_area(function: Any) -> Verdict:
    """A function (heatmap, box) -> share of the map in the box minus share of area."""
    randn, cases = _randn(0), ([2, 3, 9, 15], [0, 0, 20, 5], [11, 6, 22, 14])
    heatmaps, answers = [randn(16, 24) + 0.3 for _ in cases], []
    lead = "for a random map of 16 x 24 and the box {} your function gives"
    for heatmap, box in zip(heatmaps, cases, strict=True):
        value = _run(function, heatmap, torch.tensor(box))
        answers.append(_number(value, lead.format(box)))

    def shares(prepared: Callable[[Tensor], Tensor], end: int = 0) -> Tensor:
        parts = []
        for heatmap, (x0, y0, x1, y1) in zip(heatmaps, cases, strict=True):
            values = prepared(heatmap.double())
            parts.append(values[y0 : y1 + end, x0 : x1 + end].sum() / values.sum())
        return torch.stack(parts)

    given, part, area = (
        torch.tensor(answers, dtype=torch.double),
        shares(torch.relu),
        shares(torch.ones_like),
    )
    truth, longer = part - area, shares(torch.relu, 1) - shares(torch.ones_like, 1)
    swapped = shares(lambda values: values.relu().T) - area
    worst = int((given - truth).abs().argmax())
    way = "much" if given[worst] > truth[worst] else "little"
    slips = {
        "this is the share of the map alone: subtract the share of the area.": part,
        "this is the share of the area minus that of the map, the other way round.": -truth,
        "the share of the map is divided by that of the area: subtract.": part / area,
        "negative values are counted: set them to zero first.": shares(torch.clone) - area,
        "one row and one column too many: a box is half-open, x1 is not in it.": longer,
        "the area is in pixels: divide it by the number of pixels of the map.": part - 384 * area,
        "x and y are swapped: a map is indexed [y, x], a box is (x0, y0, x1, y1).": swapped,
        f"{lead.format(cases[worst])} {given[worst]:.4f}, which is too {way}.": True,
    }
    _compare(given, truth, slips, _within(1e-5))
    return _right("zero says: no better than a map that is the same everywhere.")


@_check
@torch.no_grad()
def box_with_other_crop(
    answer: Any, network: Any, image: Image.Image, name: str, crop: float
) -> Verdict:
    """The box of a class, in pixels of the photo, where the transform cuts otherwise."""
    try:
        given = torch.as_tensor(answer, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        given = torch.empty(0)
    if given.shape != (4,) or not given.isfinite().all():
        raise _NotYet("expected four finite numbers, (x0, y0, x1, y1) in pixels of the photo.")
    usual = network.transform
    other = replace(usual, crop=crop)

    def view_box(transform: Any, low: float = 0.0) -> Tensor:
        images = transform(image)[None].to(next(network.parameters()).device)
        heatmap = cam.class_activation_maps(network, images, [name]).maps[0, 0]
        heatmap = cam.upsample(heatmap, transform.size)
        return boxes.box_from_map(heatmap - low * heatmap.min())

    seen, size = view_box(other), image.size
    truth = other.box_in_photo(seen, size)
    x0, y0, x1, y1 = truth.tolist()
    uncut = usual.box_in_photo(view_box(usual), size)
    back = usual.box_in_photo(seen, size)
    lifted = other.box_in_photo(view_box(other, low=1.0), size)
    sides = torch.tensor([x0, y0, x1 - x0, y1 - y0])
    slips = {
        f"this is the box for crop {usual.crop}, with the network's own transform.": uncut,
        "the box is carried back with the network's own transform: use the one that cut.": back,
        "this box is in pixels of the view: carry it back to the photo.": seen,
        "the minimum was subtracted before the threshold: 20 % of the maximum means another place "
        "then.": lifted,
        "this is x, y, width, height: give (x0, y0, x1, y1).": sides,
        "x and y are swapped: a box is (x0, y0, x1, y1).": torch.tensor([y0, x0, y1, x1]),
        f'this is not the box at 20 % of the maximum of the map of "{name}", upsampled to the '
        f"view, for crop {crop}.": True,
    }
    _compare(given, truth, slips, _within(1))
    return _right(f"this is the box that the cut with crop {crop} gives, in pixels of the photo.")


# Chapter 2: FC versus GAP


@_check
def fc6_of_vgg16_at_448(answer: Any) -> Verdict:
    """Parameters of VGG-16's first FC layer for 448 x 448 images, without adaptive pooling."""
    whole = "one whole number, the count of weights and biases"
    given = _number(answer, "got", whole)
    if not given.is_integer():
        raise _NotYet(f"got {given}, expected {whole}.")
    units = 4096
    truth = 512 * 14 * 14 * units + units

    def fc6(numbers: int) -> list[int]:
        return [numbers * units, numbers * units + units]

    slips = {
        "these are the weights; each unit has a bias too.": truth - units,
        "that is FC6 at 224 x 224: how large is the map that pool5 gives at 448?": fc6(512 * 7 * 7),
        "twice the side is twice the rows and twice the columns.": fc6(2 * 512 * 7 * 7),
        "that is the map before pool5: the pooling halves it once more.": fc6(512 * 28 * 28),
        "FC6 has one weight per unit for every number in the flattened map, and one bias per unit. "
        "Start from the shape of `features` for a 448 x 448 image.": True,
    }
    _compare(given, truth, slips, operator.eq)
    each = f"each with a weight to each of {units} units, and a bias per unit"
    return _right(f"512 x 14 x 14 numbers, {each}: {truth:,}.")


@_check
def fc_weights_of_gap(function: Any) -> Verdict:
    """GAP and a linear layer written as one FC layer: (weight (C, K), H, W) -> (C, K * H * W)."""
    randn = _randn(2)
    for c, k, h, w in ((3, 5, 2, 4), (2, 3, 3, 3)):
        weight = randn(c, k)
        given = _tensor(_result(function, weight, h, w))
        lead = f"for weights of shape {(c, k)} and a map of {h} x {w} your answer has shape"
        meaning = ": a row per class, a column per number of the flattened map"
        _expect_shape(given, (c, k * h * w), lead, meaning)
        summed, tiled = weight.repeat_interleave(h * w, dim=1), weight.repeat(1, h * w)
        slips = {
            "these weights give the sum over the places: GAP averages, so the logit comes out "
            "H x W times too large.": summed,
            "right numbers, wrong order: flatten goes channel by channel, so the H x W places of "
            "channel 0 come first, then those of channel 1.": [tiled, tiled / (h * w)],
            "the logits differ from those of GAP and the linear layer. Every place of channel k "
            "gets the same weight: which, so that the sum over the places is the average?": True,
        }
        _compare(given, summed / (h * w), slips)
    return _right("one weight per channel, the same at every place, divided by their number.")


@_check
def contributions_by_place(function: Any) -> Verdict:
    """One FC layer taken apart by place: (features, weight, bias) -> (C, H, W)."""
    randn = _randn(3)
    for c, k, h, w in ((3, 5, 2, 4), (2, 6, 3, 3)):
        features, weight, bias = randn(k, h, w).abs(), randn(c, k * h * w), randn(c, 1, 1) + 1
        given = _tensor(_result(function, features, weight, bias.flatten()))
        if h != w and given.shape == (c, w, h):
            raise _NotYet("rows and columns are swapped: (C, W, H) where (C, H, W) was asked.")
        lead = f"for {c} classes and a map of {h} x {w} your answer has shape"
        _expect_shape(given, (c, h, w), lead)
        truth = (weight.reshape(c, k, h, w) * features).sum(1)
        last = (weight.reshape(c, h, w, k) * features.permute(1, 2, 0)).sum(3)
        columns = (weight.reshape(c, k, w, h).mT * features).sum(1)
        shared = weight.reshape(c, k, h * w)
        shared_by = (shared.mean(2), shared.sum(2), shared[:, :, 0])
        like_gap = [torch.einsum("ck,khw->chw", one, features) for one in shared_by]
        adds_up = _same(given.sum((1, 2)), truth.sum((1, 2)))
        averages = [truth / n for n in (k, h * w, k * h * w)]
        slips = {
            "leave the bias out: it belongs to no place.": [truth + bias, truth + bias / (h * w)],
            "these are averages: add up over the channels, and divide by nothing.": averages,
            "the weights are read in the wrong order: flatten goes channel by channel, then row by "
            "row, so a row of the weight has the layout (K, H, W).": last,
            "the weights' rows and columns are swapped: their layout is (K, H, W).": columns,
            "one weight per channel is GAP's way: here each place has its own.": like_gap,
            "the places add up to the logit without its bias, but the shares are wrong: the share "
            "of a place is what the logit loses when that place is set to zero.": adds_up,
            "the places do not add up to the logit without its bias. Multiply each number of the "
            "map by its own weight, then add up over the channels only.": True,
        }
        _compare(given, truth, slips)
    return _right("the shares of the places and the bias add up to the logit, for every class.")


@_check
def blind_but_not_additive(head: Any) -> Verdict:
    """A head (N, K, H, W) -> (N,) that ignores where cells are, and is no sum over them."""
    randn, (h, w) = _randn(4), (3, 5)
    features = randn(6, 4, h, w)

    def score(maps: Tensor) -> Tensor:
        scores = _tensor(_result(head, maps))
        lead = f"for {len(maps)} maps your head gives shape"
        _expect_shape(scores, (len(maps),), lead, ": one score per image")
        return scores

    scores = score(features)
    scale = scores.abs().max() + 1e-12
    same = _within(float(1e-5 * scale))
    if not same(score(features), scores):
        raise _NotYet("the same maps get another score the second time.")
    if same(scores, scores.mean()):
        raise _NotYet("every image gets the same score: a constant is no head.")
    if not same(score(features[:1]), scores[:1]):
        raise _NotYet("the score of an image depends on the other images of the batch.")
    for _ in range(5):
        shuffled = features.flatten(2)[:, :, randn(h * w).argsort()]
        if not same(score(shuffled.view_as(features)), scores):
            raise _NotYet(
                "the score changes when the cells of the map are shuffled: some place is treated "
                "differently from the others."
            )
    nothing = score(torch.zeros_like(features))
    places = torch.eye(h * w).reshape(-1, h, w)
    total = torch.stack([score(features * place) - nothing for place in places]).sum(0)
    if _within(float(1e-3 * (total.abs().max() + scale)))(total, scores - nothing):
        raise _NotYet(
            "the score does not depend on the arrangement, but it is still a sum of one share per "
            "place, as with average pooling and a linear layer."
        )
    return _right("the arrangement is lost, and the score is no sum of one share per place either.")


# Chapter 3: class activation maps


@_check
def maps_from_weights(answer: Any) -> Verdict:
    """Equation 2 for all classes as a function of features (N, K, H, W) and weight (C, K)."""
    randn = _randn(3)
    features, weight = randn(2, 5, 3, 4), randn(6, 5)
    maps = _tensor(_result(answer, features, weight))
    per_channel = torch.einsum("ck,nkyx->nckyx", weight, features)
    truth = per_channel.sum(2)
    other_shapes = {
        "the places are transposed, (N, C, W, H) where (N, C, H, W) was asked.": truth.mT,
        "image and class are swapped, (C, N, H, W).": truth.transpose(0, 1),
        "the class comes last, (N, H, W, C): move it before y and x.": truth.permute(0, 2, 3, 1),
        "only the first image was mapped, and its dimension is gone.": truth[0],
        "the places were summed away: these are scores, equation 1.": truth.sum((2, 3)),
        "the places were averaged away: these are scores, not maps.": truth.mean((2, 3)),
        "one map per class and channel, (N, C, K, H, W): the sum over k is missing.": per_channel,
    }
    _refuse(maps, other_shapes)
    lead = "for features (2, 5, 3, 4) and weight (6, 5) your maps have the shape"
    _expect_shape(maps, truth.shape, lead)
    low, high = truth.amin((2, 3), True), truth.amax((2, 3), True)
    unsigned = torch.einsum("ck,nkyx->ncyx", weight.abs(), features)
    reverse = torch.einsum("ck,nkyx->ncyx", weight.flip(1), features)
    own_scale = [(truth - low) / (high - low), truth / high]
    in_order = _same(maps.sort(1).values, truth.sort(1).values)
    slips = {
        "a softmax over the classes was applied; equation 2 has none.": truth.softmax(1),
        "a softmax over the places was applied.": truth.flatten(2).softmax(2).view_as(truth),
        "the negative values are gone; equation 2 has no ReLU.": truth.relu(),
        "the negative values became positive; equation 2 has no absolute value.": truth.abs(),
        "the channels were averaged; equation 2 sums over k.": truth / 5,
        "the values are H W times too small: a map is not divided by its places.": truth / 12,
        "the weights lost their signs before the sum.": unsigned,
        "the weights meet the channels in reverse order.": reverse,
        "each map was brought to a scale of its own; the score is lost with it.": own_scale,
        "the maps are right, but in another order of classes than the weights.": in_order,
    }
    _compare(maps, truth, slips)
    return _right(
        "no index but k is summed, and the others come in the order image, class, row, column."
    )


@_check
def upsampled(answer: Any) -> Verdict:
    """Bilinear upsampling with half-pixel centres, of a heatmap (H, W) to (height, width)."""
    heatmap, size = _randn(4)(3, 5), (13, 30)
    larger = _tensor(_result(answer, heatmap, size))

    def resize(values: Tensor, mode: str = "bilinear", corners: bool | None = False) -> Tensor:
        batch = values[None, None]
        return functional.interpolate(batch, size, mode=mode, align_corners=corners)[0, 0]

    def read(half: float, beyond: str) -> Tensor:
        """Pixel i reads the map at (i + half) W / w - half; beyond its border, zero or `edge`."""
        tents = []
        for cells, pixels in zip(heatmap.shape, size, strict=True):
            place = (torch.arange(pixels) + half) * cells / pixels - half
            place = place.clamp(0, cells - 1) if beyond == "edge" else place
            tents.append((1 - (place[:, None] - torch.arange(cells)).abs()).relu())
        return tents[0] @ heatmap @ tents[1].T

    truth = resize(heatmap)
    turned = (
        "your map has the right values but its axes are swapped, (width, height) where "
        "(height, width) was asked. `permute` or `.T` somewhere before the interpolation?"
    )
    _refuse(larger, {turned: truth.T})
    _expect_shape(larger, size, "your map has the shape", ", (height, width)")
    inner = (slice(2, -2), slice(3, -3))  # within the outermost centres
    no_halves, fading = read(0, "edge"), read(0.5, "zero")
    inside = _same(larger[inner], truth[inner])

    def zero_to_one(values: Tensor) -> Tensor:
        return (truth - values.min()) / (values.max() - values.min())

    slips = {
        "each pixel copies one cell: that is nearest neighbour.": resize(heatmap, "nearest", None),
        "the corner cells' centres lie on the corner pixels' (align_corners=True); here cells and "
        "pixels are areas over the same square.": resize(heatmap, corners=True),
        "that is bicubic, not bilinear.": resize(heatmap, "bicubic"),
        "the map is shifted: pixel i was read at i W / w, without the two halves.": no_halves,
        "outside the outermost centres the map fades to zero; there the border cell's value goes "
        "on.": fading,
        "the negative values are gone.": truth.relu(),
        "the map is upside down.": truth.flip(0),
        "the map is mirrored.": truth.flip(1),
        "the heatmap was transposed before the interpolation.": resize(heatmap.T),
        "the values were brought to 0 ... 1.": zero_to_one(truth),
        "the heatmap was brought to 0 ... 1.": zero_to_one(heatmap),
        "the values were divided by their maximum.": truth / truth.max(),
        "the heatmap was divided by its maximum.": truth / heatmap.max(),
        "the inside is right, the border is not: there the border cell's value goes on.": inside,
    }
    _compare(larger, truth, slips)
    return _right("values, alignment and border agree with `cam.upsample`.")


@_check
def empty_map_twin(answer: Any, network: Any, class_name: Any) -> Verdict:
    """Weights (C, K) that give every probability unchanged and a zero map for one class."""
    weight = network.get_classifier().weight.detach().cpu().double()
    c = class_name if isinstance(class_name, int) else network.classes.index(class_name)
    twin, it = _tensor(answer), f'the map of "{class_name}"'
    if twin.shape != weight.shape:
        row = " One vector is not enough: give the weights of all classes."
        hint = row if twin.shape == weight.shape[1:] else ""
        shapes = f"{tuple(weight.shape)}, (C, K), got {tuple(twin.shape)}"
        raise _NotYet(f"expected weights of shape {shapes}.{hint}")
    rounding = 1e-5 * weight.abs().max()
    added = twin - weight
    empty = twin.abs().amax(1) <= rounding  # for each class
    same = bool((added - added.mean(0)).abs().max() <= rounding)
    others = empty.nonzero().flatten().tolist()
    other = f" It is the map of class {others[0]} that is zero." if others else ""
    slips = {
        "these are the network's own weights, so nothing has changed.": weight,
        f"the sign is wrong: {it} has doubled.": weight + weight[c],
        f"no probability changes, but {it} is not zero.{other}": same,
        f"{it} is zero, but the other classes did not get the same change, so the probabilities "
        "are different now.": bool(empty[c]),
        "the classes did not all get the same change, so the probabilities differ.": True,
    }
    _compare(twin, weight - weight[c], slips)
    return _right(f"{it} is zero for every image, and no probability of any image has changed.")


@_check
def identity_test(answer: Any) -> Verdict:
    """A function (features, weight, bias, logits) -> bool that accepts a head exactly if it
    averages and is linear: mean(map) + bias == logit up to rounding."""
    heads, said = _heads(), []
    for arguments, _, _ in heads:
        value = _result(answer, *arguments)
        if isinstance(value, Tensor) and value.ndim == 0 and value.dtype == torch.bool:
            value = bool(value)
        if type(value).__name__ not in ("bool", "bool_"):  # Python's and NumPy's
            got = type(value).__name__
            got += f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
            raise _NotYet(f"expected one True or False for the whole batch, got {got}.")
        said.append(bool(value))
    if all(said):
        raise _NotYet("your function accepts every head, also those that are wrong.")
    if not any(said):
        raise _NotYet("your function refuses every head, also those that are right.")
    for accepted, (_, right, sentence) in zip(said, heads, strict=True):
        if accepted != right:
            raise _NotYet(sentence)
    return _right(f"{len(said)} heads, and your test tells the right ones from the wrong ones.")


def _heads() -> list[tuple[tuple[Tensor, ...], bool, str]]:
    """Heads as (features, weight, bias, logits), whether they are right, what a miss means."""
    randn = _randn(5)
    features, weight, bias = usual = (randn(2, 64, 4, 5).abs(), randn(6, 64), randn(6))
    maps = torch.einsum("ck,nkyx->ncyx", weight, features)
    logits = features.mean((2, 3)) @ weight.T + bias  # as networks do: not the maps' rounding
    size = maps.abs().amax((2, 3)) + bias.abs()
    heads: list[tuple[tuple[Tensor, ...], bool, str]] = []

    def wrong(scores: Tensor, sentence: str, head: Iterable[Tensor] = usual) -> None:
        heads.append(((*head, scores), False, f"it accepts {sentence}"))

    def right(scores: Tensor, sentence: str, head: Iterable[Tensor] = usual) -> None:
        heads.append(((*head, scores), True, f"it refuses {sentence}"))

    wrong(logits - bias, "scores without the bias, though the head has one: add b_c to the mean.")
    right(logits, "a right head with a bias: is it added to the mean? Is rounding allowed for?")
    wrong(maps.sum((2, 3)) + bias, "sums over the places as scores; this head should average.")
    wrong(maps.amax((2, 3)) + bias, "a head with max pooling after the weights.")
    pooled = features.amax((2, 3)) @ weight.T
    wrong(pooled + bias, "a head with max pooling before the weights.")
    hidden = (features.mean((2, 3)) @ randn(64, 64)).relu()
    wrong(hidden @ weight.T + bias, "a head of two layers.")
    wrong(logits.roll(1, 1), "scores in another order of classes: compare class by class.")
    wrong(logits.flip(0), "the scores of another image: compare image by image.")
    one, pair = torch.zeros_like(logits), torch.zeros_like(logits)
    one[1, 4], pair[0, 0], pair[0, 1] = 0.01, 0.01, -0.01
    single = (
        "one score of twelve that is off, by one hundredth of its map: every class of every image "
        "must agree, and too high is as wrong as too low."
    )
    wrong(logits + one * size, single)
    wrong(logits - one * size, single)
    off = logits + pair * size.max()
    wrong(off, "two scores off in opposite directions: take |difference| before any mean or sum.")
    off, divide = logits + 1e-3 * size, "Divide by the size of the map."
    for s in (1e-3, 1e-6):
        scaled = (features * s, weight, bias * s)
        said = f"scores of size {s:.0e} off by a thousandth: an absolute tolerance is blind there."
        wrong(off * s, f"{said} {divide}", scaled)
        right(logits * s, f"a right head whose scores are of size {s:.0e}.", scaled)
    scaled = (features * 1e12, weight, bias * 1e12)
    said = "a right head with scores of size 1e12: rounding is above any absolute tolerance there."
    right(logits * 1e12, f"{said} {divide}", scaled)
    wrong(off, "scores that are off by a thousandth of the map in float32: too loose.")
    first = features[:1].mean((2, 3)) @ weight.T
    right(
        first - first[0] + 1e-7 * size[:1],
        "a right head whose map and bias cancel, so that the score is nearly zero: rounding is "
        "relative to the map, not to the score.",
        (features[:1], weight, -first[0]),
    )
    small = features * 1e-5
    lower = small.mean((2, 3)) @ weight.T + bias  # the neighbouring float is as right
    right(
        torch.nextafter(lower, lower + 1),
        "a right head whose bias is far larger than its map: what is added is the map and the "
        "bias, so the size is max|M| + |b|.",
        (small, weight, bias),
    )
    f, w, b = half = [part.half() for part in usual]
    exact = f.float().mean((2, 3)) @ w.float().T + b.float()
    rounded, off = exact.half(), (exact + 0.1 * size).half()
    right(rounded, "a right head in float16: there rounding is a thousandth of the score.", half)
    wrong(off, "scores that are off by a tenth of the map in float16: too loose.", half)
    lost = logits.clone()
    lost[0, 0] = torch.nan
    wrong(lost, "a score that is NaN: NaN > tolerance is False. Ask for error <= tolerance.")
    return heads


# Chapter 5: fine-tuning and the price in accuracy


@_check
def top_k_missed(function: Any) -> Verdict:
    """A function (logits, labels, k) -> share of the images whose class is not among the k best."""
    logits, labels, ks = _randn(7)(40, 6), torch.arange(40) % 6, (1, 2, 4)

    def missed(*case: Any) -> float:
        lead = f"for scores {tuple(case[0].shape)} and k = {case[2]} your function gives"
        return _number(_result(function, *case), lead, "the share that is missed")

    def share(others: Tensor, shift: int = 0) -> Tensor:  # at least k others stand before it
        return torch.stack([(others.sum(1) >= k + shift).double().mean() for k in ks])

    own = logits.gather(1, labels[:, None])
    given, truth = torch.tensor([missed(logits, labels, k) for k in ks]), share(logits > own)
    slips = {
        "this is the share that is right: the error is the rest.": 1 - truth,
        "this is in per cent: give a share, from 0 to 1.": 100 * truth,
        "the missed images are counted: divide by their number.": 40 * truth,
        "k makes no difference: you count the highest score alone.": truth[:1].expand(3),
        "the k lowest scores are taken, not the k highest.": share(logits < own),
        "one place off: of k = 1 the list is one class long.": [
            share(logits > own, shift) for shift in (1, -1)
        ],
    }
    _compare(given.double(), truth, slips)
    if missed(torch.zeros(6, 6), torch.arange(6), 1) < 1:
        raise _NotYet(
            "a network that gives all classes one score gets images right: where others share the "
            "score of the class and there is no room for all of them, it is missed."
        )
    if missed(torch.tensor([[2.0, 2.0, 1.0]]), torch.tensor([0]), 2) > 0:
        raise _NotYet("two classes share the highest score and k is 2: there is room for both.")
    return _right("also where scores are equal.")


@_check
def standard_errors(function: Any) -> Verdict:
    """A function (errors, others) -> standard errors of the difference of their means: of two sets
    of images, of one set that both networks saw."""
    randn, root = _randn(8), 20
    hard = randn(root**2)
    a, b = ((hard + 0.5 * randn(root**2) > edge).double() for edge in (0.8, 1.0))
    try:
        unpaired, paired = _result(function, a, b)
    except (TypeError, ValueError):
        raise _NotYet("expected two numbers, (unpaired, paired).") from None
    pair = [_number(value, "one of the two is", "two numbers") for value in (unpaired, paired)]
    truth = torch.stack([(a.var() + b.var()).sqrt(), (a - b).std()]) / root
    first, second = truth
    slips = {
        "the two are swapped.": truth.flip(0),
        "both are the one for two sets of images.": first.expand(2),
        "both are the one for pairs.": second.expand(2),
        "these are standard deviations of single images: a mean of n varies less.": truth * root,
        "n is divided by, not its square root.": truth / root,
        "these are variances: take the square root.": truth**2,
        "these are the half widths of intervals: leave out the factor 1.96.": truth * 1.96,
        "variances add up, not standard deviations.": torch.stack(
            [(a.std() + b.std()) / root, second]
        ),
        "the paired one subtracts first, image by image, and then asks how that varies.": bool(
            abs(pair[0] - first) < 5e-3 * first
        ),
        "the unpaired one adds the variances of both means.": True,
    }

    def close(given: Tensor, truth: Tensor) -> bool:  # whether n or n - 1 is divided by
        return bool(((given - truth).abs() <= 5e-3 * truth).all())

    _compare(torch.tensor(pair).double(), truth, slips, close)
    return _right(f"pairs make this example's interval {first / second:.1f} times narrower.")


_EPOCH_SLIPS = {
    "zero": "gradients of earlier batches are still there when a new one is added: clear them.",
    "softmax": "cross_entropy takes scores and has the softmax inside: there are two now.",
    "train": "the network came in evaluation mode and has learned in it: batch norm used its "
    "running statistics and did not renew them.",
    "eval": "the share is counted in training mode: there an answer depends on the others in the "
    "batch, and counting moves the running statistics.",
}


@_check
def repaired_epoch(function: Any) -> Verdict:
    """A function (network, optimizer, images, labels) -> share right: an epoch in batches of 16,
    in order, then the share of the images that the network has right."""
    images, labels = _randn(9)(48, 5), torch.arange(48) % 3

    def epoch(network: Any, optimizer: Any, *_: Tensor, slips: Sequence[str] = ()) -> float:
        network.train("train" not in slips)
        for part, targets in zip(*(torch.split(t, 16) for t in (images, labels)), strict=True):
            scores = network(part).softmax(1) if "softmax" in slips else network(part)
            if "zero" not in slips:
                optimizer.zero_grad()
            torch.autograd.backward(functional.cross_entropy(scores, targets))
            optimizer.step()
        network.train("eval" in slips)
        return float((network(images).argmax(1) == labels).double().mean())

    def end(epoch: Callable[..., Any]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
        share = _result(epoch, network.eval(), optimizer, images, labels)
        share = _number(share, "your function gives", "the share that is right")
        state = [tensor.flatten().double() for tensor in network.state_dict().values()]
        return torch.cat([*state, torch.tensor([share])])

    left = [[name for i, name in enumerate(_EPOCH_SLIPS) if n >> i & 1] for n in range(1, 16)]
    ends = [(names, end(functools.partial(epoch, slips=names))) for names in left]
    given, truth = end(function), end(epoch)
    slips: dict[str, Any] = {
        sentence: [found for names, found in ends if slip in names]
        for slip, sentence in _EPOCH_SLIPS.items()
    }
    slips["the weights are right, the share is not."] = _same(given[:-1], truth[:-1])
    slips["the weights are not those of three steps, one for each batch of 16 in order."] = True
    _compare(given, truth, slips)
    return _right("weights, running statistics and share are those of a right loop.")


@_check
def cosine_schedule(function: Any) -> Verdict:
    """A function (step, steps, warm) -> share of the peak rate: linear up, then a cosine down."""
    steps, step = 50, torch.arange(50).double()
    for warm in (8, 0):
        lead = f"for one of {steps} steps, {warm} of them warm-up, your function gives"
        given = [_number(_result(function, i, steps, warm), lead) for i in range(steps)]
        up, t = (step + 1) / max(warm, 1), (step - warm) / (steps - warm)
        wave = (math.pi * t).cos()
        whole = 0.5 + 0.5 * (math.pi * step / steps).cos()
        rising = {
            "the cosine runs over all steps: begin it after the warm-up.": whole,
            "the rate falls below zero: a cosine goes from 1 to -1.": wave,
            "that is a quarter of the wave: the angle should reach pi.": (math.pi * t / 2).cos(),
            "that is a straight line down.": 1 - t,
            "after the warm-up the rate jumps to zero and rises: a sign?": 0.5 - 0.5 * wave,
        }
        slips: dict[str, Any] = {s: torch.where(step < warm, up, v) for s, v in rising.items()}
        truth = torch.where(step < warm, up, 0.5 + 0.5 * wave)
        late = torch.where(step < warm, up - up[0], truth)
        slips["the first step has a rate of zero and learns nothing: begin at 1 / warm."] = late
        slips["the warm-up is missing."] = [whole, torch.where(step < warm, 1.0, truth)]
        _compare(torch.tensor(given).double(), truth, slips)
    return _right("up in a line, down along half a wave, with a warm-up and without one.")


@_check
def conclusions(answer: Any) -> Verdict:
    """Which statements, by letter, a made-up table of paired intervals supports."""
    try:
        chosen = {str(letter).strip().lower() for letter in answer} - {"", ","}
    except TypeError:
        raise _NotYet(f"expected letters, got {type(answer).__name__}.") from None
    if strange := sorted(chosen - set("abcdef")):
        raise _NotYet(f"there is no statement {strange[0][:20]!r}: they go from a to f.")
    supported = {
        "a": "B's interval lies above zero as a whole.",
        "c": "to bound a difference one looks at the end of its interval.",
        "f": "that is what 95 % means.",
    }
    others = {
        "b": "no difference was found, which does not say that there is none: read the interval.",
        "d": "neither row compares B with C: that takes an interval of its own.",
        "e": "each network was trained once, and the images were drawn again, not the trainings.",
    }
    for letter in sorted(chosen & set(others)):
        raise _NotYet(f"{letter} is not supported: {others[letter]}")
    for letter in sorted(set(supported) - chosen):
        raise _NotYet(f"one that is supported is not among yours: {supported[letter]}")
    return _right("what the intervals say, and no more.")


# Chapter 4: network surgery


@_check
def gap_surgery(function: Any, name: str) -> Verdict:
    """A function (lab network) -> its GAP form: trunk, 3 x 3 convolution, ReLU, GAP, linear."""
    cut = networks.SURGERY[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original: Any = networks.create(cut.original, scale="lab")
    layers = list(original.features.named_children())
    last = [layer for layer, _ in layers].index(cut.after)
    kept = nn.Sequential(*[module for _, module in copy.deepcopy(layers[: last + 1])])
    images = _randn(6)(2, 3, 96, 96)
    with torch.no_grad():
        features, pooled = kept.eval()(images), original.features(images)
        block: Any = kept[-1]
        signed = block[:-1](kept[:-1](images))  # convolution and norm, without the ReLU
    form = _result(function, original)
    if not isinstance(form, nn.Module):
        raise _NotYet(f"your function gives {type(form).__name__}, expected a network.")
    scores = _tensor(_run(form.eval(), images))
    modules = list(form.modules())
    linears = [m for m in modules if isinstance(m, nn.Linear)]
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    if len(linears) != 1 or not convolutions:
        raise _NotYet(f"it has {len(linears)} linear layers, expected one: the FC layers go.")
    new, linear = convolutions[-1], linears[0]
    theirs = [p for p in kept.parameters() if p.ndim == 4]
    if len(convolutions) != len(theirs) + 1:
        counts = f"{len(convolutions)} convolutions, expected the {len(theirs)} up to {cut.after}"
        raise _NotYet(f"it has {counts} and a new one.")
    if any(not torch.equal(c.weight, w) for c, w in zip(convolutions, theirs, strict=False)):
        raise _NotYet("the weights up to the cut are not the original's: cut it, make no new one.")
    owned = {p.data_ptr() for p in original.parameters()}
    if owned & {p.data_ptr() for p in form.parameters()}:
        raise _NotYet("the layers are shared with the original, so training one changes the other.")
    units = networks.UNITS["lab"]
    shape = (units, features.shape[1], 3, 3)
    _expect_shape(new.weight, shape, "the new convolution has weights of shape")
    if new.stride != (1, 1) or linear.in_features != units:
        found = f"a stride of {new.stride[0]}, and the linear layer takes {linear.in_features}"
        raise _NotYet(f"the new convolution has {found} numbers, expected 1 and {units}.")
    _expect_shape(scores, (2, len(lab.CLASSES)), "for two pictures it gives scores of shape")

    def run(features: Tensor, pad: Any = "same", relu: bool = True, how: Any = Tensor.mean) -> Any:
        units = functional.conv2d(features, new.weight, new.bias, padding=pad)
        units = units.relu() if relu else units
        return functional.linear(how(units, dim=(2, 3)), linear.weight, linear.bias).double()

    with torch.no_grad():
        slips = {
            "pool5 is still there: the places are fewer than they were.": run(pooled),
            "the new convolution has no padding: each side of the map loses two.": run(features, 0),
            "the ReLU after the new convolution is missing.": run(features, relu=False),
            f"{cut.after} lost its ReLU: the cut comes after it.": run(signed),
            "the places are pooled by their maximum.": run(features, how=torch.amax),
            "the places are summed: average them.": run(features, how=torch.sum),
            "your layers are there, and the scores are others than trunk, convolution, ReLU, "
            "average and linear layer give.": True,
        }
        _compare(scores, run(features), slips)
    return _right(f"cut after {cut.after}, and rebuilt with maps of {features.shape[3]} cells.")


@_check
def receptive_field(function: Any) -> Verdict:
    """A function of [(kernel, stride), ...] -> (side of the field, step), both in pixels."""
    cases = [
        [(3, 1)],
        [(3, 2), (3, 1)],
        [(11, 4), (3, 2), (5, 1)],
        [(7, 2), (1, 1), (2, 2), (3, 1)],
    ]
    given = []
    for layers in cases:
        value = _result(function, list(layers))
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise _NotYet("expected two numbers, (side of the field, step).")
        given.append([_number(v, f"for {layers} your function gives") for v in value])

    def walk(start: int = 1, less: int = 1, early: bool = False, scaled: bool = True) -> list[Any]:
        found = []
        for layers in cases:
            field, step = start, 1
            for kernel, stride in layers:
                before, step = step, step * stride
                field += (kernel - less) * ((step if early else before) if scaled else 1)
            found.append([field, step])
        return found

    truth = walk()
    strides = [[f, sum(s for _, s in layers)] for layers, (f, _) in zip(cases, truth, strict=True)]
    wrong = next((c for c, g, t in zip(cases, given, truth, strict=True) if g != t), cases[0])
    slips = {
        "the two numbers are swapped: the field first, then the step.": [[t[::-1] for t in truth]],
        "a kernel's reach is in steps of its input: multiply it by the step.": [walk(scaled=False)],
        "a layer's own stride lengthens the steps behind it: add first, multiply then.": [
            walk(early=True)
        ],
        "before any layer a pixel sees itself: start from 1.": [walk(start=0)],
        "a kernel of 3 adds two neighbours: k - 1, not k.": [walk(less=0), walk(0, 0)],
        "strides multiply; yours add up.": [strides],
        f"it is wrong for {wrong}: pairs of (kernel, stride), the first layer first.": True,
    }
    _compare(given, truth, slips, operator.eq)
    return _right("field and step agree for four stacks of layers.")


@_check
def map_sides(at_448: Any, stride_2: Any) -> Verdict:
    """Rows of AlexNet-GAP's map at 448 pixels; and at 224 with a first stride of 2."""
    with torch.device("meta"):
        network: Any = networks.create("alexnet-gap")
        truth = [network.forward_features(torch.empty(1, 3, 448, 448)).shape[2]]
        network.features.conv1.conv.stride = (2, 2)
        truth.append(network.forward_features(torch.empty(1, 3, 224, 224)).shape[2])
    for answer, side, where in zip(
        (at_448, stride_2), truth, ("at 448 pixels", "with a stride of 2"), strict=True
    ):
        given = _number(answer, f"{where}, got", "a whole number of rows")
        slips = {
            f"{where}: that is twice 13, but not all of the first map had room in it. Go "
            "through the layers.": given == 26,
            f"{where}: that is the map after pool5, which is gone.": given in (13, 12),
            f"{where}: the new convolution has padding 1, so it keeps the map's side.": given
            == side - 2,
            f"{where}: that is pixels divided by the step, but kernels without padding need "
            "room at the border.": given == 28,
            f"{where}: that map has {'more' if given < side else 'fewer'} rows. In each layer "
            "floor((side + 2 padding - kernel) / stride) + 1.": True,
        }
        _compare(given, side, slips, operator.eq)
    return _right("each layer rounds down by itself, so the sides do not scale with the picture.")


@_check
def kept_tensors(answer: Any, original: nn.Module, form: nn.Module) -> Verdict:
    """The names in a GAP form's `state_dict()` whose tensors are the original's."""
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        raise _NotYet(f"expected names, a list or set of them, got {type(answer).__name__}.")
    before, after = original.state_dict(), form.state_dict()
    given, everything = [str(name) for name in answer], set(after)
    truth = {n for n, t in after.items() if n in before and torch.equal(before[n], t)}
    stray = [n for n in given if n not in everything]
    if stray:
        raise _NotYet(f'the form has no tensor "{stray[0][:60]}": names as in its `state_dict()`.')
    named = {n for n, _ in form.named_parameters()}
    new = [n for n in given if n not in truth]
    slips = {
        "these are all tensors of the form.": everything,
        "these are the names that both have. Under the same name there can be another tensor: "
        "compare what is in them.": everything & set(before),
        "these are the parameters; batch norm's running mean and variance are kept too.": truth
        & named,
        f'"{new[0] if new else ""}" is new.': bool(new),
        f"{len(truth - set(given))} more are kept.": True,
    }
    _compare(set(given), truth, slips, operator.eq)
    return _right(f"{len(truth)} tensors are the original's, {len(everything - truth)} are new.")


# Chapter 6: from map to box


def _several(answer: Any, lead: str, expected: str, count: int = 4) -> Tensor:
    """Finite numbers, (count,), from a tensor, an array, a list or a tuple."""
    values = None
    with contextlib.suppress(Exception):  # whatever it is, it is no row of numbers then
        values = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(values, tuple | list) or len(values) != count:
        raise _NotYet(f"{lead} {type(answer).__name__}, expected {expected}.")
    numbers = [_number(value, f"{lead} numbers with", expected) for value in values]
    return torch.tensor(numbers, dtype=torch.float64)


def _four(answer: Any, lead: str) -> Tensor:
    return _several(answer, lead, "four numbers, x0, y0, x1, y1")


def _rows(answer: Any, lead: str) -> Tensor:
    """Boxes (n, 4) from a tensor, an array, or a list of boxes."""
    rows = None
    with contextlib.suppress(Exception):  # whatever it is, it holds no boxes then
        rows = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(rows, tuple | list):
        raise _NotYet(f"{lead} {type(answer).__name__}, expected boxes (n, 4).")
    boxes_given = [_four(row, f"{lead} rows with") for row in rows]
    return torch.stack(boxes_given) if boxes_given else torch.zeros(0, 4).double()


_LAST = torch.tensor([0, 0, 1, 1])  # from a box that names its last pixels to a half-open one


def _box_slips(truth: Tensor) -> dict[str, Any]:
    """Mistakes with the ends of boxes (n, 4)."""
    turned, sizes = [1, 0, 3, 2], truth[:, 2:] - truth[:, :2]
    return {
        "the last row and column lie outside: half-open boxes end one further.": truth - _LAST,
        "rows and columns are swapped: x counts columns.": [
            truth[:, turned],
            (truth - _LAST)[:, turned],
        ],
        "this is x, y, width, height: give the end.": torch.cat([truth[:, :2], sizes], dim=1),
        "the box is too large by a row and a column.": truth + _LAST,
    }


@_check
def overlap_of_boxes(function: Any) -> Verdict:
    """A function of two boxes (4,) -> their IoU, zero where they do not meet."""
    partly, inside, same = (
        [[2, 1, 6, 5], [4, 3, 9, 6]],
        [[0, 0, 9, 9], [2, 3, 6, 8]],
        [[1, 2, 5, 9]],
    )
    apart = [[[0, 0, 4, 4], other] for other in ([5, 6, 9, 8], [6, 1, 8, 3], [4, 0, 8, 4])]
    pairs = torch.tensor([partly, inside, same * 2, *apart]).double()
    lead = "for two boxes your function gives"
    given = torch.tensor([_number(_result(function, *pair), lead) for pair in pairs]).double()
    (start, end), (others, ends) = ((box[:, :2], box[:, 2:]) for box in pairs.unbind(1))
    sides = torch.minimum(end, ends) - torch.maximum(start, others)
    hull = (torch.maximum(end, ends) - torch.minimum(start, others)).prod(1)
    raw, both = sides.prod(1), sides.clamp(min=0).prod(1)
    first, second = (end - start).prod(1), (ends - others).prod(1)
    inclusive = boxes.iou(pairs[:, 0] + _LAST, pairs[:, 1] + _LAST).diagonal()
    total, truth = first + second, both / (first + second - both)
    of_one = [both / area for area in (first, second, first.minimum(second))]
    slips = {
        "boxes that do not meet have no overlap, but yours multiplies negative sides: cut each "
        "side off at zero first.": [raw / (total - raw), raw / (total - both)],
        "the last row and column are counted in (+ 1); these boxes are half-open.": inclusive,
        "the union holds the overlap once, A + B counts it twice.": both / total,
        "that is twice the overlap over A + B (Dice), another measure.": 2 * both / total,
        "divide by the union, not by the area of one box.": of_one,
        "divide by the union, not by the rectangle around both.": both / hull,
        "the overlap is right, in pixels: divide it by the union.": both,
        "that is 1 - IoU.": 1 - truth,
        "that is per cent: leave it a share of 1.": 100 * truth,
    }
    _compare(given, truth, slips)
    return _right("also for boxes that do not meet, and for one inside the other.")


@_check
def boxes_of_masks(function: Any) -> Verdict:
    """A function (bool (n, H, W)) -> half-open boxes (n, 4), four zeros where none is true."""
    masks = torch.zeros(4, 6, 9, dtype=torch.bool)
    masks[0, 1:4, 4], masks[0, 3, 2:8], masks[1, 2, 5] = True, True, True
    masks[3] = torch.eye(6, 9, dtype=torch.bool)
    truth = torch.tensor([[2, 1, 8, 4], [5, 2, 6, 3], [0, 0, 0, 0], [0, 0, 6, 6]]).double()
    filled, lead = masks.any(dim=(1, 2)), "your function gives"
    given = _rows(_result(function, masks[filled]), lead)
    _expect_shape(given, (3, 4), "for 3 masks your boxes have shape")
    slips = {**_box_slips(truth[filled]), "they are not the smallest boxes around each mask.": True}
    _compare(given, truth[filled], slips, _within(1e-6))
    note = "with a mask without a true pixel among them"
    try:
        given = _rows(_result(function, masks), lead)
    except _NotYet as stop:
        raise _NotYet(f"{note} {stop}") from None
    _expect_shape(given, (4, 4), f"{note} 4 masks get boxes of shape")
    if not _same(given, truth):
        raise _NotYet(f"{note} the boxes are {given.int().tolist()}, expected four zeros for it.")
    return _right("one box for each mask, and four zeros for a mask without a true pixel.")


@_check
def region_boxes(function: Any) -> Verdict:
    """A function (heatmap, share) -> boxes of all 8-connected regions above it, largest first."""
    drawn = torch.full((12, 16), -0.5)
    drawn[3:6, 3:7], drawn[6, 7:9], drawn[4, 7:10], drawn[4, 10] = 0.6, 0.6, 0.3, 0.15
    drawn[0:2, 0:2], drawn[9:12, 3:6] = 1.0, 0.98  # brightest; brightest in sum
    drawn[0:8, 13], drawn[0, 10:13] = 0.55, 0.55  # fewer pixels in a larger box
    drawn[3, 2] = 0.5  # at the threshold of the first case, not above it
    cases = [(4 * drawn, 0.5), (drawn.T.contiguous(), 0.2)]
    lead = "for a map your function gives"
    given = torch.cat([_rows(_result(function, *case), lead) for case in cases])

    def found(
        worth: Callable[..., Any] = lambda m, r: r.sum(),
        above: Callable[..., Tensor] = lambda m, t: m > t * m.max(),
        links: int = 2,
        take: Callable[..., list[Tensor]] = lambda regions, mask: regions,
    ) -> Tensor:
        rows = []
        for m, share in cases:
            mask = above(m, share)
            near = ndimage.generate_binary_structure(2, links)
            numbers = torch.from_numpy(ndimage.label(mask.numpy(), near)[0])
            regions = [numbers == n for n in range(1, int(numbers.max()) + 1)]
            regions.sort(key=lambda r, m=m: -worth(m, r))  # type: ignore[misc]
            places = [r.nonzero().flip(1) for r in take(regions, mask)]  # x, y
            rows += [torch.cat([xy.amin(0), xy.amax(0) + 1]) for xy in places]
        return torch.stack(rows).double()

    slips = {
        **_box_slips(found()),
        "it is one box around all pixels: give each region its own.": found(take=lambda _, m: [m]),
        "that is the largest region alone: give them all.": found(take=lambda r, _: r[:1]),
        "label 0 is the background and no region.": found(take=lambda r, mask: [~mask, *r]),
        "the smallest comes first: turn the order.": found(lambda m, r: -r.sum()),
        "they are not sorted: most pixels first.": found(lambda m, r: 0),
        "sorted by the sum of values: count pixels.": found(lambda m, r: m[r].sum()),
        "sorted by the brightest pixel: count pixels.": found(lambda m, r: m[r].max()),
        "sorted by the area of the boxes: count pixels.": found(
            lambda m, r: r.any(0).sum() * r.any(1).sum()
        ),
        "pixels that touch at a corner belong together: 8 neighbours, not 4.": found(links=1),
        "above means >: a pixel at it stays out.": found(above=lambda m, t: m >= t * m.max()),
        "the share is of the range; the paper's is of the maximum.": found(
            above=lambda m, t: m > m.min() + t * (m.max() - m.min())
        ),
        "the share is used as a map value: multiply it by the maximum.": found(above=torch.gt),
        "at least one box is missing, or another than that of a region above the share.": True,
    }
    _compare(given, found(), slips)
    return _right("all regions, most pixels first, eight neighbours, a share of the maximum.")


@_check
def share_chosen(function: Any) -> Verdict:
    """A function (misses of validation (S, n), of test (S, m), shares) -> share, test error."""
    shares, randn = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], _randn(11)
    rates = torch.tensor([[0.9, 0.7, 0.5, 0.2, 0.3, 0.6], [0.8, 0.6, 0.4, 0.3, 0.1, 0.7]])
    valid, test = (  # exactly at these rates, in any order
        torch.stack([(randn(n).argsort() < rate * n).double() for rate in row])
        for row, n in zip(rates, (40, 60), strict=True)
    )
    pair = _result(function, valid, test, shares)
    given = _several(pair, "your function gives", "two numbers, the share and the error", 2)
    errors, on_test = valid.mean(1), test.mean(1)
    best, lure, worst = (int(i) for i in (errors.argmin(), on_test.argmin(), errors.argmax()))
    truth = torch.tensor([shares[best], on_test[best]]).double()
    wrong = {  # a share's place and the error told
        "the share suits the test pictures: choose on validation pictures.": [
            (lure, of[lure]) for of in (on_test, errors)
        ],
        "the error is that of the pictures on which the share was chosen.": [(best, errors[best])],
        "the error is the lowest of the test pictures, at another share.": [(best, on_test[lure])],
        "1 is a miss: the lowest mean is the best.": [
            (worst, of[worst]) for of in (on_test, errors)
        ],
        "the second is the share that is right, not the error.": [(best, 1 - on_test[best])],
    }
    slips: dict[str, Any] = {
        sentence: [torch.tensor([shares[i], error]).double() for i, error in answers]
        for sentence, answers in wrong.items()
    }
    slips |= {
        "the first number is the place of the share in the list.": bool(given[0] == best),
        "the two numbers are swapped: first the share.": truth.flip(0),
        "the share is right, the error is not the mean over the test pictures.": bool(
            abs(given[0] - shares[best]) < 1e-6
        ),
        "that is none of the shares, or not the best.": True,
    }
    _compare(given, truth, slips, _within(1e-6))
    return _right("chosen on the one, reported on the other.")


@_check
def half_open_boxes(of_ilsvrc: Any, of_cub: Any) -> Verdict:
    """Functions from (xmin, ymin, xmax, ymax), last pixel in, and from (x, y, w, h)."""
    raw = torch.tensor([[3, 4, 20, 9], [0, 0, 499, 374]]).double()
    size, turned = (
        torch.cat([raw[:, :2], raw[:, :2] + raw[:, order]], dim=1) for order in ([2, 3], [3, 2])
    )
    last_in: dict[str, Any] = {
        "nothing has changed, but the pixels xmax and ymax belong to the box.": raw,
        "the first pixel stays where it is: only the end moves.": [raw + 1, raw - 1 + _LAST],
        "half-open boxes end one *after* the last pixel.": raw - _LAST,
        "xmax and ymax are places, not sizes.": [size, size + _LAST],
    }
    sized: dict[str, Any] = {
        "nothing has changed, but the last two numbers are sizes.": raw,
        "x + w is the first pixel outside already.": [size + _LAST, size - _LAST],
        "the last two numbers are sizes, not places.": raw + _LAST,
        "width belongs to x and height to y.": turned,
    }
    for kind, function, truth, slips in (
        ("ILSVRC", of_ilsvrc, raw + _LAST, last_in),
        ("CUB", of_cub, size, sized),
    ):
        lead = f"for a box of {kind} your function gives"
        given = torch.stack([_four(_result(function, box), lead) for box in raw])
        named = {f"{kind}: {sentence}": slip for sentence, slip in slips.items()}
        named[f"{kind}: try a box of one pixel by hand."] = True
        _compare(given, truth, named, _within(1e-6))
    return _right("both now end at the first pixel outside, and the width is x1 - x0.")


# Chapter 7: localization without boxes

_SPOTS = {
    "on": [0, 0, 10, 10],  # where the picture's object is
    "half": [0, 0, 10, 5],
    "less": [0, 0, 10, 4],
    "far": [50, 50, 60, 60],
    "other": [20, 20, 30, 30],  # where an object of class 5 is
    "nowhere": [0, 0, 0, 0],
}
_RANKS = {  # of a picture of class 3: what is wrong -> guesses, its instances, the rank asked for
    "the only guess has the right class and lies on the object: its rank is 1.": ("3@on", "on", 1),
    "a guess far from the object is no hit, and none is 0.": ("3@far", "on", 0),
    "a box of another class on the object counts: compare the classes.": ("5@on", "on", 0),
    "a box on an object of another class counts: compare `labels`.": ("3@other", "on", 0),
    "a guess that names another object counts: compare with `label`.": ("5@other", "on", 0),
    "the second of two guesses is the hit: look at all, its rank is 2.": ("3@far 3@on", "on", 2),
    "guesses of other classes have a rank too: count them.": ("5@far 3@far 3@on", "on", 3),
    "of several hits the first is asked, not the last or their number.": ("3@on 3@on", "on", 1),
    "class and box have to be right in the same guess.": ("3@far 5@on", "on", 0),
    "every instance is asked for, or their mean: one is enough.": ("3@on", "on far far", 1),
    "only the first instance is looked at: any of the class will do.": ("3@on", "far on", 1),
    "an IoU of exactly 0.5 is enough.": ("3@half", "on", 1),
    "an IoU below 0.5 is not enough.": ("3@less", "on", 0),
    "the empty box (0, 0, 0, 0) overlaps nothing.": ("3@nowhere 3@on", "on", 2),
}


@_check
def hit_rank(function: Any) -> Verdict:
    """A function (classes, guesses, target) -> rank of the first hit by ILSVRC's rule, or 0."""
    for sentence, (guesses, own, truth) in _RANKS.items():
        classes, places = zip(*(guess.split("@") for guess in guesses.split()), strict=True)
        objects = [_SPOTS[place] for place in (*own.split(), "other")]
        target = {
            "label": 3,
            "labels": torch.tensor([3] * (len(objects) - 1) + [5]),
            "boxes": torch.tensor(objects).float(),
        }
        shown = torch.tensor([_SPOTS[place] for place in places])
        found = _result(function, torch.tensor([int(c) for c in classes]), shown, target)
        given = _number(found, "your function gives", "the rank of the first hit, or 0")
        _refuse(given, {sentence: given != truth})
    return _right("class and box of one guess, any instance, and 0.5 included.")


@_check
def centre_box(function: Any) -> Verdict:
    """A function (width, height, share) -> centred box with that share of a picture's area."""
    cases = ((96, 96, 0.25), (400, 300, 0.36), (300, 400, 0.81))
    given = torch.stack([_four(_result(function, *c), "your function gives") for c in cases])
    width, height, share = torch.tensor(cases).double().T
    size, root = torch.stack([width, height], dim=1), share.sqrt()[:, None]

    def boxed(sides: Tensor, at: float = 0.5) -> Tensor:
        start = (size - sides) * at
        return torch.cat([start, start + sides], dim=1)

    truth, edges = boxed(size * root), (size.amin(1), size.amax(1), size.prod(1).sqrt())
    slips = {
        "each side has the share, the area its square: take the root.": boxed(size * root**2),
        "this is x, y, width, height.": torch.cat([truth[:, :2], size * root], dim=1),
        "width and height are swapped: x goes with the width.": truth[:, [1, 0, 3, 2]],
        "the box starts in the corner: leave the same margin on all sides.": boxed(size * root, 0),
        "the box is square: give it the picture's proportions.": [
            boxed(edge[:, None] * root.expand(3, 2)) for edge in edges
        ],
        "the area outside has the share: the box should.": boxed(size * (1 - root**2).sqrt()),
        f"for width, height and share {cases[1]} your box is "
        f"{[round(v) for v in given[1].tolist()]}: check its centre and its area.": True,
    }
    _compare(given, truth, slips, _within(1))
    return _right("a quarter of the area is half of each side.")


@_check
def two_boxes_each(function: Any) -> Verdict:
    """A function (classes, tight, loose) of three classes and their boxes -> five guesses."""
    classes = torch.tensor([4, 9, 2])
    tight = torch.tensor([[5, 5, 9, 9], [2, 3, 4, 6], [7, 1, 8, 3]])
    loose = tight + torch.tensor([-2, -1, 3, 2])
    try:
        pair = _result(function, classes, tight, loose)
        # Row by row, so that a list of tensors is as good as a tensor.
        of, found = ([torch.as_tensor(one).tolist() for one in part] for part in pair)
        labels = _tensor(torch.as_tensor(of)).flatten().tolist()
        rows = _tensor(torch.as_tensor(found)).reshape(len(labels), 4).tolist()
    except (TypeError, ValueError, RuntimeError):
        raise _NotYet("expected classes (5,) and boxes (5, 4), as many of each.") from None
    given = sorted(zip(labels, rows, strict=True))
    both = [(classes[i].item(), kind[i].tolist()) for i in range(3) for kind in (tight, loose)]
    truth, boxes_alone = sorted([*both[:4], both[5]]), [box for _, box in [*both[:4], both[5]]]
    slips = {
        "six guesses: the third class gets one box.": [sorted(both)],
        "the third class gets its tight box: it should be the loose one.": [sorted(both[:5])],
        "one box for each class: five guesses leave room for two of the first two.": len(given) < 5,
        "the second class gets no second box.": labels.count(9.0) == 1,
        "one guess stands there twice: a tight and a loose box were asked.": any(
            given.count(guess) > 1 for guess in given
        ),
        "the boxes are right, and stand with other classes than their own.": sorted(rows)
        == sorted(boxes_alone),
        "each guess is one of the three classes with one of its two boxes.": True,
    }
    _compare(given, truth, slips, operator.eq)
    return _right("two guesses for the box of each likely class, one for the third.")


@_check
def error_parts(function: Any) -> Verdict:
    """A function (answers, labels, ious) -> shares with a wrong class; right class, wrong box."""
    answers = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 4, 0, 1])
    ious = torch.tensor([0.9, 0.8, 0.3, 0.5, 0.7, 0.9, 0.6, 0.0, 0.2, 0.4])
    pair = _result(function, answers, labels, ious)
    given = _several(pair, "your function gives", "two shares, wrong class and wrong box", 2)
    wrong, apart = answers != labels, ious < 0.5

    def shares(*masks: Tensor) -> Tensor:
        return torch.stack([mask.double().mean() for mask in masks])

    truth = shares(wrong, ~wrong & apart)
    slips = {
        "the two are swapped.": truth.flip(0),
        "these are counts: divide by the number of pictures.": 10 * truth,
        "these are in per cent: give shares, from 0 to 1.": 100 * truth,
        "where class and box are wrong, a picture counts twice.": shares(wrong, apart),
        "the second is a share of the pictures with the right class: take it of all, or the two "
        "do not add up.": torch.stack([truth[0], truth[1] / (1 - truth[0])]),
        "an IoU of exactly 0.5 is enough, and no mistake.": shares(wrong, ~wrong & (ious <= 0.5)),
        "the second part is that of good boxes.": shares(wrong, ~wrong & ~apart),
        "the first part is that of right classes.": bool(abs(given[0] + truth[0] - 1) < 1e-6),
        f"together they should be the top-1 localization error, {truth.sum():.1f} here; yours are "
        f"{given.sum():.2f}.": True,
    }
    _compare(given, truth, slips)
    return _right("wrong class, or right class and wrong box: nothing is in both.")


# Chapter 8: average or maximum?


@_check
def maximum_gradient(function: Any) -> Verdict:
    """A function (features (K, H, W), gradient (K,) by the pooled channels) -> (K, H, W)."""
    randn = _randn(12)
    features, above = randn(5, 3, 4).relu() + 0.1 * randn(5, 3, 4).abs(), randn(5)
    features[2] *= -1  # a channel without a positive value has a maximum all the same
    given = _tensor(_result(function, features, above))
    _expect_shape(given, (5, 3, 4), "for features (5, 3, 4) your answer has shape")
    at, push = features.flatten(1).argmax(1), above[:, None, None].expand(5, 3, 4)
    one = functional.one_hot(at, 12).reshape(5, 3, 4)
    first = features == features.max()
    slips = {
        "that is global average pooling's: every place gets the same.": push / 12,
        "every place gets it all, and only that of the maximum should.": push,
        "a 1 at the maximum: the chain rule multiplies by the gradient that comes in.": one,
        "the maximum's value comes in: its derivative is 1.": [
            one * features,
            one * features * push,
        ],
        "only one channel gets a gradient: each has a maximum of its own.": first * push,
        "a negative maximum gets a gradient, too: here no ReLU is in between.": one
        * push
        * (features > 0),
        "each channel has its gradient, at another place than its maximum: a flat index is "
        "y * W + x.": _same(given.sum((1, 2)), above),
        "zero but at each channel's maximum; there, the gradient that comes in.": True,
    }
    _compare(given, one * push, slips)
    return _right("one place for each channel.")


@_check
def coverage(function: Any) -> Verdict:
    """A function (heatmap, mask, share) -> recall and precision of the cut."""
    heatmap, mask = _randn(13)(8, 9) + 0.5, torch.arange(72).reshape(8, 9) % 9 > 4
    heatmap[:2] = 0.0  # not above the threshold for a share of 0
    shares, given = (0.0, 0.2, 0.4), []
    for share in shares:
        try:
            pair = tuple(_result(function, heatmap, mask, share))
        except TypeError:
            pair = ()
        if len(pair) != 2:
            raise _NotYet("expected two numbers, (recall, precision).")
        given.append([_number(v, "one of the two is", "two numbers") for v in pair])

    def of(*cuts: Tensor, whole: Callable[..., list[Tensor]] = lambda cut: [mask, cut]) -> Tensor:
        sums = [[(cut & mask).sum() / part.sum() for part in whole(cut)] for cut in cuts]
        return torch.tensor(sums).double()

    top, low = heatmap.max(), heatmap.min()
    cuts = [heatmap > share * top for share in shares]
    answer, truth = torch.tensor(given).double(), of(*cuts)
    slips = {
        "the two are swapped.": truth.flip(1),
        "these are counts or per cent: give shares, from 0 to 1.": bool(answer.max() > 1),
        "a pixel at the threshold is not kept, only those above.": of(
            *(heatmap >= share * top for share in shares)
        ),
        "the threshold is a share of the maximum, not the share itself.": of(
            *(heatmap > share for share in shares)
        ),
        "the threshold is a share of the maximum, not of the mean.": of(
            *(heatmap > share * heatmap.mean() for share in shares)
        ),
        "the minimum was taken off first: the share counts from zero.": of(
            *(heatmap > low + share * (top - low) for share in shares)
        ),
        "that is the IoU: recall divides by the object alone, precision by what is kept alone.": [
            of(*cuts, whole=lambda cut: [mask | cut, mask | cut]),
            of(*cuts, whole=lambda cut: [mask | cut, cut]),
            of(*cuts, whole=lambda cut: [mask, mask | cut]),
        ],
        "recall is right, precision is not: divide by what is kept.": _same(
            answer[:, 0], truth[:, 0]
        ),
        "precision is right, recall is not: divide by the object.": _same(
            answer[:, 1], truth[:, 1]
        ),
    }
    _compare(answer, truth, slips)
    return _right("of the object, and of what is kept.")


@_check
def recall_given(function: Any) -> Verdict:
    """A function (recall (n,), precision (n,), wanted) -> largest recall with that precision."""
    recall = torch.tensor([0.6, 0.9, 0.2, 0.75, 1.0, 0.3])
    precision = torch.tensor([0.75, 0.5, 0.7, 0.625, 0.25, 0.875])
    wanted = torch.tensor([0.5, 0.55, 0.625, 0.85])  # two of them are met exactly
    lead = "for six cuts and a precision of {:.3g} your function gives"
    given = torch.tensor(
        [_number(_result(function, recall, precision, w), lead.format(w)) for w in wanted.tolist()]
    ).double()

    def best(recall: Tensor, enough: Tensor) -> Tensor:
        return torch.where(enough, recall, 0).amax(1).double()

    enough = precision >= wanted[:, None]
    least = torch.where(enough, recall, 2).amin(1)
    nearest = recall[(precision - wanted[:, None]).abs().argmin(1)]
    slips = {
        "a precision of exactly what is wanted is enough.": best(
            recall, precision > wanted[:, None]
        ),
        "that is the largest precision at such a recall: the two are swapped.": best(
            precision, recall >= wanted[:, None]
        ),
        "that is the largest of all recalls: some of these cuts are not precise enough.": bool(
            (given == recall.max()).all()
        ),
        "that is the recall of the cut with the nearest precision: it may lie below.": nearest,
        "that is the smallest recall of those that are precise enough.": least,
        "that is the first cut that is precise enough: they come in any order.": recall[
            enough.int().argmax(1)
        ],
        "that is the recall of the most precise cut.": recall[5].expand(4),
        "that is a number of the cut: its recall is asked.": bool((given >= 1).any()),
        "of the cuts with at least this precision, take the largest recall.": True,
    }
    _compare(given, best(recall, enough), slips)
    none = _number(_result(function, recall, precision, 0.95), lead.format(0.95))
    if none != 0:
        raise _NotYet(f"no cut has a precision of 0.95: expected 0, got {none:.3g}.")
    return _right("also where a precision is met exactly, or by no cut.")


@_check
def soft_maximum(function: Any) -> Verdict:
    """A function (features (N, K, H, W), r) -> log-sum-exp pooling (N, K)."""
    features = 2 * _randn(14)(3, 5, 4, 6).double()
    flat, lead = features.flatten(2), "for features (3, 5, 4, 6) your answer has shape"
    for r in (1.0, 0.25, 3.0):
        given = _tensor(_result(function, features, r))
        _expect_shape(given, (3, 5), lead, ", one number for each channel of each image")
        powers = (r * flat).exp()
        truth = powers.mean(2).log() / r
        slips = {
            "the exponentials are added: take their mean, or r -> 0 is not the average.": (
                powers.sum(2).log() / r
            ),
            "1 / r before the logarithm is missing.": powers.mean(2).log(),
            "r inside the exponential is missing.": flat.exp().mean(2).log() / r,
            "that is the average, whatever r is.": flat.mean(2),
            "that is the maximum, whatever r is.": flat.amax(2),
            "that is the soft minimum: a sign?": -(-r * flat).exp().mean(2).log() / r,
            "it agrees for r = 1 and not for other r.": bool(r != 1),
        }
        _compare(given, truth, slips)
    for r, limit, what in ((1e-3, flat.mean(2), "average"), (1e3, flat.amax(2), "maximum")):
        result = _result(function, features, r)
        if isinstance(result, Tensor) and not bool(result.isfinite().all()):
            raise _NotYet(
                f"exp overflows for r = {r:g}: torch.logsumexp takes the maximum out first."
            )
        given = _tensor(result)
        _expect_shape(given, (3, 5), lead)
        if not bool((given - limit).abs().max() < 0.02):
            raise _NotYet(f"for r = {r:g} it should be near the {what}, and is not.")
    return _right("near the average for small r, near the maximum for large r.")


# ---- chapter 11 ----


@_check
def rank_correlation(function: Any) -> Verdict:
    """A function (first, second), maps (H, W) without equal values -> Spearman's correlation."""
    randn = _randn(31)
    first = (1.5 * randn(6, 7)).exp()  # far from normal, so that values and ranks disagree
    second = (first.log() + randn(6, 7)).exp() ** 2
    lead = "for two maps (6, 7) your function gives"
    given = torch.tensor(_number(_result(function, first, second), lead)).double()

    def ranks(values: Tensor) -> Tensor:
        return values.flatten().argsort().argsort().double()

    def pearson(a: Tensor, b: Tensor) -> Tensor:
        return torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1]

    truth = pearson(ranks(first), ranks(second))
    rows = [pearson(ranks(a), ranks(b)) for a, b in zip(first, second, strict=True)]
    slips = {
        "that is the correlation of the values: put ranks in their place first.": pearson(
            first, second
        ),
        "the sign is wrong: does one of the two orders run from high to low?": -truth,
        "argsort alone says which pixel comes first, not the place of each pixel in the order.": (
            pearson(first.flatten().argsort(), second.flatten().argsort())
        ),
        "the rows are ranked one by one: all pixels of a map form one order.": [
            torch.stack(rows).mean(),
            pearson(first.argsort(1).argsort(1), second.argsort(1).argsort(1)),
        ],
        "only one of the two maps is ranked.": [
            pearson(ranks(first), second),
            pearson(first, ranks(second)),
        ],
        "a correlation is divided by both spreads, and lies between -1 and 1.": bool(
            given.abs() > 1 + 1e-6
        ),
        "rank all pixels of each map, then take the correlation of the ranks.": True,
    }
    _compare(given, truth, slips, _within(1e-4))
    return _right("only the order counts.")


@_check
def mass_share(function: Any) -> Verdict:
    """A function (heatmap (h, w), mask (h, w) bool) -> share of the positive mass in the mask."""
    heatmap, mask = _randn(32)(7, 8) + 0.3, torch.arange(56).reshape(7, 8) % 8 > 4
    lead = "for a map (7, 8) your function gives"
    given = torch.tensor(_number(_result(function, heatmap, mask), lead)).double()
    values = heatmap.double()
    positive, area = values.relu(), mask.double().mean()
    truth = positive[mask].sum() / positive.sum()
    scaled = values - values.min()
    slips = {
        "negative values are in the sums: cut them off first.": values[mask].sum() / values.sum(),
        "negative values count as positive: cut them off, do not fold them over.": (
            values.abs()[mask].sum() / values.abs().sum()
        ),
        "the minimum was taken off: that makes mass where the map is negative.": scaled[mask].sum()
        / scaled.sum(),
        "that is a sum: divide it by that of the whole map.": positive[mask].sum(),
        "that is the mass outside the mask.": 1 - truth,
        "that is a share of pixels: their values are the mass.": [
            (values > 0)[mask].double().sum() / (values > 0).sum(),
            (values > 0)[mask].double().mean(),
            area,
        ],
        "that is a mean inside against a mean of the whole, a preference: the share is asked.": (
            truth / area
        ),
        "divided by the area of something: the share compares mass with mass.": [
            positive[mask].mean(),
            positive[mask].sum() / mask.numel(),
        ],
        "that is 1 where the highest place is in the mask, and 0 elsewhere: a hit, no share.": bool(
            given in (0, 1)
        ),
        "the positive values in the mask, over all positive values.": True,
    }
    _compare(given, truth, slips, _within(1e-5))
    result = _run(function, -heatmap.abs() - 1, mask)
    try:
        nothing = float(result)
    except Exception:  # whatever float() raises: it is no number
        nothing = math.nan
    if nothing != 0:
        raise _NotYet(f"a map without a positive value has no mass: expected 0, got {nothing:.3g}.")
    return _right("0 also for a map that is negative everywhere.")


@_check
def deletion_area(function: Any) -> Verdict:
    """A function (score, image, fill, heatmap, steps) -> area under the deletion curve."""
    randn = _randn(33)
    image, fill, heatmap = randn(3, 6, 8), 0.5 * randn(3, 6, 8) + 1, randn(6, 8)
    factors, steps = randn(3, 6, 8).double() + 0.5, 6
    lead = "for an image (3, 6, 8) and 6 steps your function gives"

    def score(picture: Tensor) -> Tensor:
        return (picture.double() * factors).sum() ** 2 / 48

    kept = []

    def watched(of: Any, picture: Tensor, *others: Any) -> Any:
        area = function(of, picture, *others)
        kept.append(torch.equal(picture, image))
        return area

    result = _result(
        watched if callable(function) else function, score, image, fill, heatmap, steps
    )
    if not all(kept):
        raise _NotYet("your function writes into the image that it was given: clone it first.")
    if isinstance(result, list | tuple) or (isinstance(result, Tensor) and result.numel() > 1):
        raise _NotYet("the whole curve comes back: its area is one number.")
    given = torch.tensor(_number(result, lead)).double()

    def curve(order: Tensor, start: Tensor, end: Tensor, pile: bool = True) -> Tensor:
        values, left = [score(start)], start.flatten(1).clone()
        for share in order.chunk(steps):
            if not pile:
                left = start.flatten(1).clone()
            left[:, share] = end.flatten(1)[:, share]
            values.append(score(left.reshape(start.shape)))
        return torch.stack(values)

    def area(values: Tensor) -> Tensor:
        return torch.trapezoid(values, dx=1 / (len(values) - 1))

    high = heatmap.flatten().argsort(descending=True)
    right = curve(high, image, fill)
    columns = torch.arange(48).reshape(6, 8).T.flatten()
    slips = {
        "the image is filled from its lowest pixels on, or back from its highest, which has the "
        "same area: deletion begins with the whole image and takes the highest pixels first.": area(
            curve(high.flip(0), image, fill)
        ),
        "pixels become zero (black, or grey): put those of the fill in their place.": area(
            curve(high, image, torch.zeros_like(image))
        ),
        "the area is not that over shares from 0 to 1: how wide is a step?": [
            torch.trapezoid(right),
            torch.trapezoid(right, dx=1 / (steps + 1)),
            torch.trapezoid(right, dx=1 / 48),
        ],
        "a plain mean or sum of the points: by trapezoids the two ends count half.": [
            right.mean(),
            right.sum(),
            right[1:].mean(),
            right[:-1].mean(),
        ],
        "the curve begins after the first share: the whole image is its first point.": area(
            right[1:]
        ),
        "the curve ends before the last share: the fill alone is its last point.": area(right[:-1]),
        "each share is deleted from the whole image: what is gone stays gone.": area(
            curve(high, image, fill, pile=False)
        ),
        "the ranks of the pixels serve as their numbers: argsort gives the order already.": [
            area(curve(high.argsort(), image, fill)),
        ],
        "rows and columns of the map are swapped.": area(curve(columns[high], image, fill)),
        "highest pixels first, share by share, and the area under all points.": True,
    }
    _compare(given, area(right), slips, _within(1e-4 * float(right.abs().max())))
    # With equal values everywhere, an order that is random falls evenly.
    side = torch.arange(256).reshape(16, 16)

    def upper(picture: Tensor) -> Tensor:
        return picture[:, side < 128].mean()

    def first(picture: Tensor) -> Tensor:
        return picture[:, side % 16 < 8].mean()

    level = (torch.ones(3, 16, 16), torch.zeros(3, 16, 16), torch.zeros(16, 16), 16)
    for part in (upper, first):
        even = _number(_result(function, part, *level), "for an even map your function gives")
        if abs(even - 0.5) > 0.1:
            raise _NotYet("pixels of equal value go in the order of reading: shuffle them first.")
    return _right("highest first, and equal pixels in no order.")


@_check
def moving_loss(function: Any) -> Verdict:
    """A function (maps, region, logits, old_logits, weight) -> the loss of each image, (N,)."""
    randn = _randn(34)
    maps, old, weight = randn(4, 5, 6), randn(4, 7), 0.7
    logits = old + 0.5 * randn(4, 7)
    region = (torch.arange(30).reshape(5, 6) % 6 > 3).float()
    maps.requires_grad_()
    logits.requires_grad_()
    with torch.enable_grad():
        result = _result(function, maps, region, logits, old, weight)
        given = _tensor(result)
        if given.shape == ():
            raise _NotYet("one number for all images: a loss for each is asked, (N,).")
        _expect_shape(given, (4,), "for maps (4, 5, 6) your answer has shape")
        m, change = maps.detach().double(), (logits - old).detach().double()
        positive = m.relu()
        inside = (positive * region).sum((1, 2))
        share, kept = inside / positive.sum((1, 2)), change.square().mean(1)
        slips = {
            "the share has the wrong sign: a loss is made small, and the share is to grow.": (
                share + weight * kept
            ),
            "the logits are not kept: their term is missing.": -share,
            "the share is missing.": weight * kept,
            "the weight is missing.": kept - share,
            "the weight stands before the share: it belongs to the logits.": kept - weight * share,
            "the squares are added up: take their mean over the classes.": (
                weight * change.square().sum(1) - share
            ),
            "the change of the logits is not squared.": [
                weight * change.mean(1) - share,
                weight * change.abs().mean(1) - share,
            ],
            "only the best class's logit is kept, and a probability hangs on all.": (
                weight * change.gather(1, old.argmax(1)[:, None].cpu()).square()[:, 0] - share
            ),
            "negative values are in the share: cut them off first.": (
                weight * kept - (m * region).sum((1, 2)) / m.sum((1, 2))
            ),
            "the mass is not divided by that of the whole map: it could grow everywhere.": (
                weight * kept - inside
            ),
            "mass and region are summed over all images: a share for each.": (
                weight * kept - inside.sum() / positive.sum()
            ),
            "minus the share of the positive mass, plus weight times the mean square.": True,
        }
        _compare(given, weight * kept - share, slips)
        wanted = (maps, logits)
        found: Any = [None, None]
        if result.requires_grad:
            found = torch.autograd.grad(result.sum(), wanted, allow_unused=True)
        positive = maps.relu()
        own = (positive * region).sum((1, 2)) / positive.sum((1, 2))
        loss = weight * (logits - old).square().mean(1) - own
        expected = torch.autograd.grad(loss.sum(), wanted)
    if any(one is None for one in found):
        raise _NotYet("the values are right, and no gradient gets through: a detach, or no_grad?")
    if any(not torch.allclose(a, b, atol=1e-4) for a, b in zip(found, expected, strict=True)):
        raise _NotYet("the values are right, their gradient is not: is a part of it detached?")
    return _right("and its gradient moves the map while it holds the logits.")


# ---- chapter 10 ----


@_check
def small_alpha(answer: Any) -> Verdict:
    """Grad-CAM's weights (alpha_0, alpha_1) of the two channels of the exercise."""
    given = _several(answer, "your answer is", "two numbers, (alpha_0, alpha_1)", 2)
    activations = torch.tensor([[[1.0, 2], [0, 1]], [[0, 1], [3, 0]]]).double()
    open_unit = torch.tensor([[[1.0, 0], [2, 1]], [[0, -1], [1, 2]]]).double()
    closed_unit = torch.tensor([[[0.0, 1], [-1, 0]], [[1, 0], [-2, 3]]]).double()
    slope = 3 * open_unit

    def mean(values: Tensor) -> Tensor:
        return values.mean(dim=(1, 2))

    slips = {
        "these are sums over places: alpha is their mean.": 4 * mean(slope),
        "that is a mean over all eight numbers: each channel has four places.": mean(slope) / 2,
        "both units pass a gradient on: work out which of them are open on this map.": mean(
            slope - closed_unit
        ),
        "that is the unit that is closed on this map: its ReLU lets no gradient through.": [
            mean(closed_unit),
            -mean(closed_unit),
        ],
        "those are the hidden unit's weights: the score weighs the unit, too.": mean(open_unit),
        "no absolute values: what speaks against the class lowers alpha.": mean(slope.abs()),
        "negative gradients count, too: the ReLU of Grad-CAM comes after the sum.": mean(
            slope.relu()
        ),
        "the gradient is not multiplied by the activations here: that would be HiResCAM.": [
            mean(slope * activations),
            4 * mean(slope * activations),
        ],
        "these are means of the activations: alpha is the mean of the gradient.": mean(activations),
        "the two channels are swapped.": mean(slope).flip(0),
        "alpha of channel 0 is right, the other is not: a sign?": _same(given[:1], mean(slope)[:1]),
        "alpha of channel 1 is right, the other is not.": _same(given[1:], mean(slope)[1:]),
        "take the gradient of the score by each place, then the mean of a channel's four.": True,
    }
    _compare(given, mean(slope), slips)
    return _right("open units only, a mean over places, no bias.")


def _cut_network() -> tuple[nn.Module, nn.Module]:
    """A trunk and a head with a gradient that differs from place to place, in float64."""
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh())
    head = nn.Sequential(nn.Flatten(), nn.Linear(4 * 5 * 6, 7), nn.Tanh(), nn.Linear(7, 5))
    weights = _randn(15)
    for module in (trunk.double(), head.double()):
        for parameter in module.parameters():
            size = 1.5 / math.sqrt(parameter[0].numel())
            parameter.data = size * weights(*parameter.shape).double()
    return trunk.eval(), head.eval()


@_check
def own_grad_cam(function: Any) -> Verdict:
    """A function (trunk, head, images (N, 3, h, w), classes (N,)) -> maps (N, H, W)."""
    trunk, head = _cut_network()
    images, classes = _randn(16)(3, 3, 10, 12).double(), torch.tensor([4, 0, 2])
    with torch.enable_grad():
        result = _result(function, trunk, head, images, classes)
    given = _tensor(result)
    if given.shape == (3, 4, 5, 6):
        raise _NotYet("the channels are still there: add them up, each times its weight.")
    if given.shape == (3, 10, 12):
        raise _NotYet("that is the size of the image: the map has the layer's size, (N, H, W).")
    lead = "for activations (3, 4, 5, 6) your answer has shape"
    _expect_shape(given, (3, 5, 6), lead, ", one map for each image")
    with torch.enable_grad():
        cut = trunk(images).detach().requires_grad_()
        logits = head(cut)

        def slopes(scores: Tensor) -> Tensor:
            slope: Tensor = torch.autograd.grad(scores.sum(), cut, retain_graph=True)[0]
            return slope

        own, rows = slopes(logits.gather(1, classes[:, None])), torch.arange(3)
        others = {
            "softmax": slopes(logits.softmax(1)[rows, classes]),
            "log": slopes(logits.log_softmax(1)[rows, classes]),
            "all": slopes(logits[:, classes]),
            "first": slopes(logits[:, classes[0]]),
            "top": slopes(logits.amax(1)),
        }
    maps = cut.detach()

    def summed(slope: Tensor, alpha: Callable[[Tensor], Tensor] = lambda a: a) -> Tensor:
        added: Tensor = (alpha(slope.mean((2, 3), keepdim=True)) * maps).sum(1)
        return added

    truth = summed(own).relu()
    highest = truth.amax((1, 2), keepdim=True)
    slips = {
        "the gradient is that of the probability: take the logit, before softmax.": [
            summed(others["softmax"]).relu(),
            summed(others["log"]).relu(),
        ],
        "each image got the classes of all images: take the score of its own one.": summed(
            others["all"]
        ).relu(),
        "all images got the class of the first one.": summed(others["first"]).relu(),
        "that is the map of the top class, not of the class asked for.": summed(
            others["top"]
        ).relu(),
        "places that speak against the class are still negative: the last step is missing.": summed(
            own
        ),
        "that is the absolute value of the sum: what is negative becomes zero.": summed(own).abs(),
        "the ReLU is taken of each channel: it comes after the sum over channels.": [
            (own.mean((2, 3), keepdim=True) * maps).relu().sum(1),
            (own.mean((2, 3), keepdim=True) * maps).relu().mean(1),
        ],
        "alpha lost its sign: a channel may speak against the class.": [
            summed(own, torch.abs).relu(),
            summed(own, torch.relu).relu(),
            summed(own.abs()).relu(),
            summed(own.relu()).relu(),
        ],
        "the mean over channels is taken: it is a sum.": truth / 4,
        "the gradient is summed over places: it is a mean.": truth * 30,
        "each gradient stays at its place: that is HiResCAM. Grad-CAM takes their mean first.": (
            own * maps
        )
        .sum(1)
        .relu(),
        "that is Layer-CAM: Grad-CAM takes the mean of all gradients first.": (own.relu() * maps)
        .sum(1)
        .relu(),
        "the map was scaled to its own maximum: leave it in the units of the score.": [
            truth / highest,
            truth / truth.max(),
        ],
        "all images share one alpha: a mean over places, not over images.": (
            (own.mean((0, 2, 3), keepdim=True) * maps).sum(1).relu()
        ),
    }
    _compare(given, truth, slips)
    if any(p.grad is not None for module in (trunk, head) for p in module.parameters()):
        raise _NotYet(
            "the maps are right, but backward() left gradients on the weights: "
            "torch.autograd.grad(score, activations) leaves none."
        )
    return _right("the maps agree, and the weights are left alone.")


@_check
def places_of_tokens(function: Any) -> Verdict:
    """A function (tokens (N, extra + HW, K), height, width, extra) -> (N, K, height, width)."""
    for seed, (height, width, extra, channels) in enumerate([(3, 5, 2, 4), (4, 2, 1, 6)]):
        number = height * width
        tokens = _randn(17 + seed)(2, extra + number, channels)
        given = _tensor(_result(function, tokens, height, width, extra))
        shapes = {
            "the channels come last: they belong before the places.": (height, width, channels),
            "width comes before height.": (channels, width, height),
            "the places are not in rows yet.": (channels, number),
        }
        for sentence, shape in shapes.items():
            if given.shape == (2, *shape) and shape != (channels, height, width):
                raise _NotYet(sentence)
        lead = f"for tokens {tuple(tokens.shape)} on a grid of {height} x {width} your answer has"
        _expect_shape(given, (2, channels, height, width), f"{lead} shape")

        def rows(some: Tensor, size: tuple[int, int] = (height, width)) -> Tensor:
            return some.transpose(1, 2).reshape(2, -1, *size).double()

        kept = tokens[:, extra:]
        slips = {
            "the extra tokens stand in front, and those dropped were others.": [
                rows(tokens[:, start : start + number]) for start in range(extra)
            ],
            "channels and places are mixed: a reshape alone does not swap axes.": [
                kept.reshape(2, channels, height, width).double(),
                tokens[:, :number].reshape(2, channels, height, width).double(),
            ],
            "the tokens come row by row, and were laid out column by column.": rows(
                kept, (width, height)
            ).transpose(2, 3),
            "rows or columns are in reverse order.": [rows(kept).flip(d) for d in (2, 3)],
        }
        _compare(given, rows(kept), slips)
    return _right("each token at its place, whatever the grid.")


@_check
def positive_gradients(function: Any) -> Verdict:
    """A function (parts g A, activations A, both (K, H, W)) -> Layer-CAM's map (H, W)."""
    activations, gradient = _randn(19)(5, 4, 6).double(), _randn(20)(5, 4, 6).double()
    activations[:, :, 2], activations[3, 1] = 0.0, 0.0
    parts = gradient * activations
    result = _result(function, parts, activations)
    if isinstance(result, Tensor) and not result.is_complex() and bool(result.isnan().any()):
        raise _NotYet("0 / 0 where an activation is zero: can it be done without a division?")
    given = _tensor(result)
    lead = "for parts (5, 4, 6) your answer has shape"
    _expect_shape(given, (4, 6), lead, ", one value for each place")
    positive = parts * (gradient > 0)
    slips = {
        "parts are chosen by their own sign: where the activation is negative, a positive part "
        "comes from a negative gradient.": [
            parts.relu().sum(0),
            parts.relu().mean(0),
        ],
        "the ReLU after the sum is missing.": positive.sum(0),
        "that is HiResCAM: the negative gradients are still in it.": [
            parts.sum(0),
            parts.sum(0).relu(),
        ],
        "parts are chosen by the sign of the activation: the gradient's is asked.": [
            (parts * (activations > 0)).sum(0),
            (parts * (activations > 0)).sum(0).relu(),
        ],
        "only places with positive activations are kept: a positive gradient is enough.": (
            (positive * (activations > 0)).sum(0)
        ),
        "those are the parts with negative gradients.": [
            (parts - positive).sum(0),
            (parts - positive).sum(0).relu(),
        ],
        "the gradients are there, and the activations are lost.": (
            (gradient * (activations != 0)).relu().sum(0)
        ),
        "no absolute values: Layer-CAM keeps signs until the last ReLU.": [
            parts.abs().sum(0),
            positive.abs().sum(0),
        ],
        "the mean over channels is taken: it is a sum.": positive.sum(0).relu() / 5,
    }
    _compare(given, positive.sum(0).relu(), slips)
    return _right("chosen by the gradient's sign, which part and activation tell together.")


# ---- chapter 9 ----


@_check
def relu_net_gradient(function: Any) -> Verdict:
    """A function (weight (J, D), outer (J,), x (D,)) -> gradient by x of outer . relu(weight x)."""
    randn = _randn(17)
    weight, outer, x = randn(6, 4), randn(6), randn(4)
    given = _tensor(_result(function, weight, outer, x))
    hint = {
        (6,): ", one number for each input: that is one for each hidden unit",
        (6, 4): ", one number for each input: add up over the hidden units",
        (): ", one number for each input: that is one number in all",
    }.get(tuple(given.shape), ", one number for each input")
    _expect_shape(given, (4,), "for 6 units and 4 inputs your answer has shape", hint)
    before = weight @ x
    gates = (before > 0).float()
    truth = weight.T @ (outer * gates)
    slips = {
        "that is the gradient with all units open: which ones pass something on for this x?": (
            weight.T @ outer
        ),
        "the closed units come in, and the open ones do not.": weight.T @ (outer * (1 - gates)),
        "the units' values come in: the derivative of an open ReLU is 1.": [
            weight.T @ (outer * before.relu()),
            weight.T @ before.relu(),
        ],
        "the last layer's weights are missing.": weight.T @ gates,
        "that is multiplied by the input: the gradient alone is asked.": truth * x,
        "the sign is gone: the gradient itself is asked.": truth.abs(),
        "the gates belong to the hidden units, not to the inputs.": [
            (weight.T @ outer) * (x > 0),
            weight.T @ outer.relu() * (x > 0),
        ],
        "a unit is open where its own input is positive, whatever the sign of its weight above.": [
            weight.T @ outer.relu(),
            weight.T @ (outer.relu() * gates),
        ],
        "go back path by path: from the score to each open unit, and on to each input.": True,
    }
    _compare(given, truth, slips)
    return _right("the weights of the open paths, added up.")


@_check
def chosen_setting(function: Any) -> Verdict:
    """A function (valid (A, B), test (A, B)) -> test error at the setting chosen on validation."""
    randn, cases = _randn(16), ((3, 5), (4, 2), (2, 6), (5, 5))
    pairs = [(randn(*size).sigmoid(), randn(*size).sigmoid()) for size in cases]
    lead = "your function gives"
    given = torch.tensor([_number(_result(function, *pair), lead) for pair in pairs]).double()

    def each(pick: Callable[[Tensor, Tensor], Any]) -> Tensor:
        return torch.tensor([float(pick(*pair)) for pair in pairs]).double()

    def by_means(valid: Tensor, test: Tensor) -> Tensor:
        return test[valid.mean(1).argmin(), valid.mean(0).argmin()]

    slips = {
        "that is the lowest test error: the test pictures have chosen.": each(
            lambda _, test: test.min()
        ),
        "that is the validation error: it is the best of many, and so flatters.": each(
            lambda valid, _: valid.min()
        ),
        "that is the place of the setting: its test error is asked.": each(
            lambda valid, _: valid.argmin()
        ),
        "errors are better when low: that is the setting with the highest.": each(
            lambda valid, test: test.flatten()[valid.argmax()]
        ),
        "validation chose the blur only, and the test pictures the share.": each(
            lambda valid, test: test[valid.amin(1).argmin()].min()
        ),
        "validation chose the share only, and the test pictures the blur.": each(
            lambda valid, test: test[:, valid.amin(0).argmin()].min()
        ),
        "blur and share are chosen one by one, by their means: choose the pair.": each(by_means),
        "the roles are swapped: choose on validation, report on test.": each(
            lambda valid, test: valid.flatten()[test.argmin()]
        ),
        "that is the mean over all settings.": [
            each(lambda _, test: test.mean()),
            each(lambda valid, _: valid.mean()),
        ],
        "find the pair with the lowest validation error, then look the test error up there.": True,
    }
    _compare(given, each(lambda valid, test: test.flatten()[valid.argmin()]), slips)
    return _right("validation chooses, test only reports.")


@_check
def smooth_gradient(function: Any) -> Verdict:
    """A function (gradient_of, image (3, h, w), noise (R, 3, h, w)) -> SmoothGrad map (h, w)."""
    randn = _randn(15)
    image, noise, slope = randn(3, 5, 7), 0.7 * randn(6, 3, 5, 7), randn(3, 5, 7)

    def gradient_of(picture: Tensor) -> Tensor:
        return slope * (2 * picture).cos() + picture.square() - 0.5

    given = _tensor(_result(function, gradient_of, image, noise))
    hints: dict[tuple[int, ...], str] = {
        (3, 5, 7): ", one number for each pixel: the colours are still there",
        (6, 5, 7): ", one number for each pixel: the copies are still there",
    }
    hint = hints.get(tuple(given.shape), ", one number for each pixel")
    _expect_shape(given, (5, 7), "for an image (3, 5, 7) your answer has shape", hint)
    each = torch.stack([gradient_of(image + one) for one in noise])
    mean = each.mean(0)
    truth = mean.abs().amax(0)
    slips = {
        "that is the plain saliency: the noise has not come in.": gradient_of(image).abs().amax(0),
        "the noise was averaged, and then one gradient taken: average the gradients.": gradient_of(
            image + noise.mean(0)
        )
        .abs()
        .amax(0),
        "the absolute value was taken before the mean: then gradients that noise turns round do "
        "not cancel.": [each.abs().mean(0).amax(0), each.abs().amax(1).mean(0)],
        "that is the sum of the gradients: take their mean.": each.sum(0).abs().amax(0),
        "the noise multiplies the image: add it.": torch.stack(
            [gradient_of(image * one) for one in noise]
        )
        .mean(0)
        .abs()
        .amax(0),
        "those are gradients at the noise alone: add it to the image.": torch.stack(
            [gradient_of(one) for one in noise]
        )
        .mean(0)
        .abs()
        .amax(0),
        "only one of the noisy copies has come in.": [one.abs().amax(0) for one in each],
        "the absolute value is missing: a negative gradient counts as well.": [
            mean.amax(0),
            each.amax(1).mean(0),
            mean.amax(0).abs(),
            mean.amax(0).relu(),
        ],
        "over the colours the largest is asked, not the mean or the sum.": [
            mean.abs().mean(0),
            mean.abs().sum(0),
            mean.mean(0).abs(),
            mean.sum(0).abs(),
        ],
        "in this order: gradients of the noisy copies, mean, absolute value, largest colour.": True,
    }
    _compare(given, truth, slips)
    return _right("the mean first, then the absolute value.")


def _toy_network() -> nn.Sequential:
    """From images (N, 3, h, w) to five logits, in float64; the same weights in every call."""
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    )
    network.append(nn.Linear(24, 5))
    randn = _randn(18)
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(randn(*weights.shape))
    return network.double().eval()


@_check
def contrast_saliency(function: Any) -> Verdict:
    """A function (network, images, a, b) -> saliency (N, h, w) of logit a minus logit b."""
    network, a, b = _toy_network(), 3, 1
    images = _randn(19)(2, 3, 6, 8).double()
    given = _tensor(_result(function, network, images, a, b))
    hints = {
        (2, 3, 6, 8): ", one number for each pixel: the colours are still there",
        (6, 8): ", one number for each pixel of each image: the batch is gone",
    }
    hint = hints.get(tuple(given.shape), ", one number for each pixel of each image")
    _expect_shape(given, (2, 6, 8), "for images (2, 3, 6, 8) your answer has shape", hint)

    def slope(value: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            pixels = images.clone().requires_grad_()
            return torch.autograd.grad(value(network(pixels)).sum(), pixels)[0]

    def largest(gradient: Tensor) -> Tensor:
        return gradient.abs().amax(1)

    of_a, of_b = slope(lambda s: s[:, a]), slope(lambda s: s[:, b])
    gradient = of_a - of_b
    truth, apart = largest(gradient), largest(of_a) - largest(of_b)
    slips = {
        "that is the saliency of one of the two classes: the other has not come in.": [
            largest(of_a),
            largest(of_b),
        ],
        "two saliencies were subtracted: their signs are gone by then. Subtract the logits.": [
            apart,
            -apart,
            apart.abs(),
            apart.relu(),
            (of_a.abs() - of_b.abs()).abs().amax(1),
        ],
        "that is the gradient of the sum of the two logits.": largest(of_a + of_b),
        "that is the gradient of probabilities: no softmax.": [
            largest(slope(lambda s: s.softmax(1)[:, a] - s.softmax(1)[:, b])),
            largest(slope(lambda s: s.softmax(1)[:, a])),
        ],
        "the difference is squared before the gradient, so it is multiplied by it.": largest(
            slope(lambda s: (s[:, a] - s[:, b]).square())
        ),
        "the gradient is divided by the number of images: add the scores up, do not average.": (
            truth / 2
        ),
        "over the colours the largest is asked, not the mean, the sum or squares.": [
            gradient.abs().mean(1),
            gradient.abs().sum(1),
            gradient.mean(1).abs(),
            gradient.sum(1).abs(),
            gradient.square().sum(1),
            gradient.norm(dim=1),
        ],
        "the absolute value is missing, or comes after the maximum.": [
            gradient.amax(1),
            gradient.amax(1).abs(),
            gradient.amax(1).relu(),
            (-gradient).amax(1),
        ],
        "each map is scaled by its maximum: leave the values as they are.": truth
        / truth.amax((1, 2), keepdim=True),
        "one backward pass from the difference of two logits; then the largest over the colours "
        "of the absolute values.": True,
    }
    _compare(given, truth, slips)
    again = _tensor(_run(lambda: [function(network, images, a, b) for _ in "12"][-1]))
    if not _same(again, truth):
        raise _NotYet(
            "called twice with the same images, the second answer is another: a gradient has been "
            "added to that of the first call."
        )
    if images.grad is not None or any(w.grad is not None for w in network.parameters()):
        raise _NotYet(
            "the values are right, but a gradient is left behind in the images or the weights, to "
            "which the next backward pass adds."
        )
    return _right("what both classes share has dropped out.")


# ---- chapter 14 ----


def _in_view(boxes_given: Tensor, size: tuple[int, int], factors: Sequence[float]) -> Tensor:
    """Boxes (n, 4) of an image of such a size, times factors for x and y of the unit square."""
    return boxes_given / torch.tensor(size * 2).double() * torch.tensor([*factors] * 2).double()


@_check
def box_in_view(function: Any) -> Verdict:
    """A function (kind, box, (width, height), side) -> half-open box in the view, side x side."""
    raw = torch.tensor([[30, 4, 220, 90], [0, 0, 499, 374], [17, 60, 140, 75]]).double()
    size, side, turned = (500, 375), 224, [1, 0, 3, 2]
    ends = torch.cat([raw[:, :2], raw[:, :2] + raw[:, 2:]], dim=1)
    wide, high = side * size[0] / size[1], side * size[1] / size[0]  # as one factor for both axes
    for kind, half_open, wrong_ends in (
        (
            "ILSVRC",
            raw + _LAST,
            {
                "the pixels xmax and ymax belong to the box.": [raw],
                "xmax and ymax are places, not sizes.": [ends, ends + _LAST],
                "the first pixel stays where it is: only the end moves.": [raw + 1, raw - 1],
                "half-open boxes end *after* the last pixel.": [raw - _LAST],
            },
        ),
        (
            "CUB",
            ends,
            {
                "the last two numbers are sizes, not places.": [raw, raw + _LAST],
                "x + w is the first pixel outside already.": [ends + _LAST, ends - _LAST],
            },
        ),
    ):
        lead = f"for a box of {kind} your function gives"
        results = [_result(function, kind, tuple(row), size, side) for row in raw.tolist()]
        given = torch.stack([_four(result, lead) for result in results])

        def scaled(some: Tensor, factors: Sequence[float] = (side, side)) -> Tensor:
            return _in_view(some, size, factors)

        truth = scaled(half_open)
        slips: dict[str, Any] = {
            sentence: [scaled(one) for one in some] for sentence, some in wrong_ends.items()
        }
        slips |= {
            "the pixel was added in the view, where one of the image is smaller: first the "
            "half-open box, then the scale.": [scaled(raw) + _LAST, scaled(ends) + _LAST],
            "that is the box in the image: the view has `side` pixels.": half_open,
            "that is a share of the image: the view has `side` pixels.": scaled(half_open, (1, 1)),
            "both axes got one factor: the view is squeezed, so each has its own.": [
                scaled(half_open, (side, high)),
                scaled(half_open, (wide, side)),
            ],
            "the factors are swapped: x goes with the width.": scaled(half_open, (wide, high)),
            "the scale is upside down: a smaller view has smaller numbers.": half_open
            * torch.tensor(size * 2)
            / side,
            "x and y are swapped: x counts columns.": truth[:, turned],
            "the box is rounded: leave it as it is.": [truth.round(), truth.floor(), truth.ceil()],
            "half-open first, then a factor for each axis: try the whole image by hand.": True,
        }
        named = {f"{kind}: {sentence}": slip for sentence, slip in slips.items()}
        _compare(given, truth, named, _within(1e-4))
    return _right("the end moves in the image, and only then the scale comes.")


@_check
def class_order(function: Any) -> Verdict:
    """A function counts (C, C), class by answer -> (C,), the class that each output means."""
    for means, images in (([2, 0, 3, 1, 4], [50] * 5), ([3, 0, 1, 2], [20, 2000, 30, 900])):
        count = len(means)
        truth = torch.tensor(means).double()
        own = functional.one_hot(torch.tensor(means), count).T
        # Of each class 60 % go to its output, the others to the rest alike.
        shares = 0.6 * own + 0.4 / (count - 1) * (1 - own)
        counts = (shares * torch.tensor(images)[:, None]).round().long()
        lead = f"for {count} classes your function gives"
        given = _several(
            _result(function, counts), lead, f"{count} class numbers, one for each output", count
        )
        slips = {
            "that answers the reverse question: which output means class i. Asked is, for each "
            "column, its class.": truth.argsort().double(),
            "the order is left as it is: look where the large counts stand.": torch.arange(
                count
            ).double(),
            "classes count from 0.": truth + 1,
            "a large class outvotes a small one by its errors: compare shares of each row, not "
            "counts.": counts.argmax(dim=0).double(),
            "two outputs mean the same class: each means another.": len(set(given.tolist()))
            < count,
            "for each column, the class of which most images get this answer.": True,
        }
        _compare(given, truth, slips, _within(1e-6))
    return _right("with it the labels can be put in the network's order.")


@_check
def training_hours(function: Any) -> Verdict:
    """A function (speed, steps, batch, gpus, accumulate) -> hours."""
    cases = [(500.0, 160_000, 64, 1, 2), (830.0, 20_000, 512, 8, 4), (250.0, 3000, 96, 3, 5)]
    lead = "your function gives"
    numbers = [_number(_result(function, *case), lead, "a number of hours") for case in cases]
    given = torch.tensor(numbers).double()
    speed, steps, batch, gpus, parts = torch.tensor(cases).double().T
    truth = steps * batch / (speed * gpus) / 3600
    slips = {
        "those are seconds.": truth * 3600,
        "those are minutes.": truth * 60,
        "those are days.": truth / 24,
        "`accumulate` cuts a batch into parts: it adds no images and takes none away.": [
            truth * parts,
            truth / parts,
        ],
        "the GPUs share the images: `batch` is of all of them together, `speed` of one.": [
            truth * gpus,
            truth * gpus**2,
            truth * gpus * parts,
        ],
        "a step is not an image: the batch is missing.": [truth / batch, truth * gpus / batch],
        "that is upside down: a faster GPU needs fewer hours.": [1 / truth, 3600 / truth],
        "all images, by images a second of all GPUs, in hours.": True,
    }
    _compare(given, truth, slips)
    return _right("and `accumulate` does not enter, for it adds no images.")


@_check
def place_to_resume(function: Any) -> Verdict:
    """A function (step, images, batch) -> (epoch from 0, images used of its order)."""
    cases = [(7, 100, 32), (3, 100, 32), (50, 320, 64), (160_000, 1_281_167, 64)]
    lead, expected = "your function gives", "two numbers, the epoch and the images used"
    results = [_several(_result(function, *case), lead, expected, 2) for case in cases]
    given = torch.stack(results)
    step, images, batch = torch.tensor(cases).double().T
    each = images.div(batch, rounding_mode="floor")

    def place(steps: Tensor) -> Tensor:
        return torch.stack([step.div(steps, rounding_mode="floor"), step % steps * batch], dim=1)

    truth = place(each)
    epoch, used = truth.T
    total = step * batch
    slips = {
        "an epoch drops the images that its last batch leaves over: count its steps, not the "
        "images.": torch.stack([total.div(images, rounding_mode="floor"), total % images], dim=1),
        "the images left over make no batch: an epoch has a step less.": place(
            images.div(batch).ceil()
        ),
        "the second is a number of steps: images are asked.": torch.stack(
            [epoch, used / batch], dim=1
        ),
        "the second is what is left of the epoch: what is used is asked.": [
            torch.stack([epoch, images - used], dim=1),
            torch.stack([epoch, each * batch - used], dim=1),
        ],
        "the second counts all images since the start: those of this epoch are asked.": (
            torch.stack([epoch, total], dim=1)
        ),
        "epochs count from 0.": truth + torch.tensor([1, 0]),
        "the two are swapped: the epoch comes first.": truth.flip(1),
        "whole epochs of so many steps, then the steps that remain.": True,
    }
    _compare(given, truth, slips, _within(1e-6))
    return _right("the steps decide, and what an epoch leaves over is dropped each time.")


# ---- chapter 13: patterns and units ----


@_check
def telling(function: Any) -> Verdict:
    """A function (present (n, M) bool, labels (n,), c) -> how much each motif tells, (M,)."""
    generator = torch.Generator().manual_seed(130)
    labels = torch.arange(60) % 3
    chances = torch.tensor(
        [[0.9, 0.7, 0.5, 0.0, 0.3], [0.9, 0.1, 0.5, 0.6, 0.0], [0.9, 0, 0.2, 0, 0]]
    )
    present = torch.rand((60, 5), generator=generator) < chances[labels]
    c = 1
    given = _tensor_with_infinite(_result(function, present, labels, c))
    hint = {
        (): ", one number for each motif: the motifs are summed up",
        (60, 5): ", one number for each motif: the pictures are still there",
        (3, 5): ", one number for each motif: those are all categories",
    }.get(tuple(given.shape), ", one number for each motif")
    _expect_shape(given, (5,), "for 60 pictures and 5 motifs your answer has shape", hint)
    inside, outside = present[labels == c].double(), present[labels != c].double()

    def smooth(of: Tensor) -> Tensor:
        return (of.sum(0) + 0.5) / (len(of) + 1)

    truth = (smooth(inside) / smooth(outside)).log()
    slips = {
        "a motif that was never seen on one side gives 0 or infinity: count half a picture more "
        "with it, and half a picture without.": bool((~given.isfinite()).any()),
        "that is how frequent a motif is in the category: the other categories have not come in.": [
            inside.mean(0),
            smooth(inside),
            smooth(inside).log(),
            inside.sum(0),
        ],
        "that is the other way round: the category goes on top.": [-truth, (-truth).exp()],
        "the ratio is right, its logarithm is missing.": truth.exp(),
        "the difference of the two frequencies is taken: their ratio is asked.": [
            inside.mean(0) - outside.mean(0),
            smooth(inside) - smooth(outside),
        ],
        "the category is among those it is compared with: take the pictures of the others.": [
            (smooth(inside) / smooth(present.double())).log()
        ],
        "counts are divided, and not frequencies: there are more other pictures.": [
            ((inside.sum(0) + 0.5) / (outside.sum(0) + 0.5)).log()
        ],
        "another category than c is on top.": [
            (smooth(present[labels == k].double()) / smooth(present[labels != k].double())).log()
            for k in (0, 2)
        ],
        "that is another logarithm: take the natural one.": [
            truth / math.log(2),
            truth / math.log(10),
        ],
        "a half picture with the motif and a half without: (count + 1/2) / (pictures + 1).": True,
    }
    _compare(given, truth, slips)
    return _right("a motif that is frequent everywhere is at zero.")


def _tensor_with_infinite(answer: Any) -> Tensor:
    """As `_tensor`, for a check that has a sentence of its own for what is not finite."""
    if isinstance(answer, Tensor) and answer.is_floating_point() and answer.layout == torch.strided:
        return answer.detach().cpu().double()
    return _tensor(answer)


@_check
def mined(function: Any) -> Verdict:
    """A function (scores (n,), labels (n,), used (m,), number) -> hard negatives, (number,)."""
    scores = _randn(131)(40).double()
    labels = (torch.arange(40) % 4 == 0).long()
    used, number = scores.masked_fill(labels == 1, -9).topk(5).indices[::2], 6
    answer = _result(function, scores, labels, used, number)
    given = _tensor(answer)
    if given.shape == (40,):
        raise _NotYet(
            "that is one value for each picture: the indices of the chosen ones are asked."
        )
    _expect_shape(given, (number,), f"for number = {number} your answer has shape")
    if bool((given != given.round()).any()) or not bool(((given >= 0) & (given < 40)).all()):
        raise _NotYet("those are scores, or no indices: say which pictures, from 0 to n - 1.")
    chosen = given.long()

    def highest(of: Tensor, allowed: Tensor) -> Tensor:
        return of.masked_fill(~allowed, -torch.inf).topk(number).indices

    negative, free = labels == 0, torch.ones(40, dtype=torch.bool)
    free[used] = False
    truth = highest(scores, negative & free)
    lists = {
        "those have the lowest scores: the hard negatives are taken for positives.": highest(
            -scores, negative & free
        ),
        "that counts within the negatives that are left: give indices into all pictures.": highest(
            scores, negative & free
        ).new_tensor([int((negative & free)[:i].sum()) for i in truth.tolist()]),
        "that counts within the negatives: give indices into all pictures.": truth.new_tensor(
            [int(negative[:i].sum()) for i in highest(scores, negative).tolist()]
        ),
        "those are nearest to the boundary: a negative far on the wrong side is harder.": highest(
            -scores.abs(), negative & free
        ),
    }
    _refuse(
        set(chosen.tolist()),
        {
            sentence: slip
            for sentence, slip in {
                "a picture is chosen twice.": len(set(chosen.tolist())) < number,
                **{sentence: set(slip.tolist()) for sentence, slip in lists.items()},
                "there are positives among them.": bool((labels[chosen] == 1).any()),
                "some of them are used already: each round adds new ones.": bool(
                    (~free[chosen]).any()
                ),
            }.items()
        },
        lambda one, other: one == other,
    )
    if set(chosen.tolist()) != set(truth.tolist()):
        raise _NotYet("all are new negatives, but others have higher scores.")
    return _right("the pictures that the detector is most wrong about.")


@_check
def unit_order(function: Any) -> Verdict:
    """A function (weight (C, K), pooled (N, K), labels (N,), c) -> units by contribution, (K,)."""
    randn = _randn(132)
    weight, pooled = randn(4, 9).double(), randn(30, 9).double().abs()
    labels, c = torch.arange(30) % 4, 2
    pooled[:, 3] = 0.0  # a unit that never fires,
    weight[c, 3] = weight.max() + 1  # with the largest weight
    pooled[labels == c] *= torch.linspace(2.0, 0.1, 9).double()
    given = _tensor(_result(function, weight, pooled, labels, c))
    _expect_shape(given, (9,), "for 9 units your answer has shape", ", each unit once")
    if sorted(given.tolist()) != list(range(9)):
        raise _NotYet("the units are counted 0 to 8, each once: argsort gives that, sort does not.")
    own = pooled[labels == c]

    def order(of: Tensor) -> Tensor:
        return of.argsort(descending=True).double()

    parts = weight[c] * own.mean(0)
    slips = {
        "that is the order by weight: the first unit never fires, and gives the class nothing.": (
            order(weight[c])
        ),
        "that is the order by activation: the weight has not come in.": [
            order(own.mean(0)),
            order(pooled.mean(0)),
        ],
        "the smallest contribution comes first.": order(-parts),
        "the means are over all pictures: take those of class c.": order(
            weight[c] * pooled.mean(0)
        ),
        "contributions of either sign are mixed: no absolute value.": order(parts.abs()),
        "those are the weights of another class.": [
            order(weight[k] * own.mean(0)) for k in range(4) if k != c
        ],
        "those are the places of the units in the order: the units themselves are asked.": order(
            parts
        )
        .argsort()
        .double(),
        "w_k^c times the mean of F_k over the pictures of c, the largest first.": True,
    }
    _compare(given, order(parts), slips, lambda a, b: bool(torch.equal(a, b)))
    return _right("a unit counts as much as it fires, times its weight.")


@_check
def without_units(function: Any) -> Verdict:
    """A function (pooled (N, K), weight (C, K), bias (C,), removed, fill (K,)) -> logits (N, C)."""
    randn = _randn(133)
    pooled, weight, bias = randn(5, 8).abs(), randn(3, 8), randn(3)
    fill, removed = pooled.mean(0) + 0.1, torch.tensor([6, 1, 4])
    given = _tensor(_result(function, pooled, weight, bias, removed, fill))
    _expect_shape(given, (5, 3), "for 5 pictures and 3 classes your answer has shape")

    def logits(of: Tensor, by: Tensor = weight) -> Tensor:
        return of.double() @ by.double().T + bias.double()

    replaced, zero, kept = pooled.clone(), pooled.clone(), torch.zeros(5, 8)
    replaced[:, removed], zero[:, removed] = fill[removed], 0.0
    kept[:, removed] = pooled[:, removed]
    rows = weight.clone()
    rows[removed[removed < 3]] = 0.0
    truth = logits(replaced)
    wrong_order = pooled.clone()
    wrong_order[:, removed] = fill[: len(removed)]
    slips = {
        "nothing is removed.": logits(pooled),
        "the units are set to zero: `fill` takes their place.": logits(zero),
        "the others are removed, and these are kept.": logits(kept),
        "the bias is missing.": [truth - bias, logits(zero) - bias],
        "the units are gone, but so are classes: a unit is a column of the weight.": logits(
            pooled, rows
        ),
        "`fill` has a value for each of the K units: take those of the removed ones.": logits(
            wrong_order
        ),
        "put fill into F_k for these units, then the linear layer as ever.": True,
    }
    _compare(given, truth, slips)
    left = _run(lambda *own: (function(*own), own[0])[1], pooled, weight, bias, removed, fill)
    if not torch.equal(left, pooled):
        raise _NotYet("the logits are right, but F_k was overwritten: work on a copy.")
    return _right("no second forward pass: the layer is linear.")


# ---- chapter 12 ----


@_check
def svm_on_raw_features(function: Any) -> Verdict:
    """A function (weight (C, K), bias (C,), mean (K,), deviation (K,)) -> (weight, bias) for F.

    The SVM was trained on (F - mean) / deviation.
    """
    randn = _randn(31)
    weight, bias, mean = randn(3, 5), randn(3), randn(5) + 2
    deviation = randn(5).exp() + 0.2
    result = _result(function, weight, bias, mean, deviation)
    if not isinstance(result, tuple | list) or len(result) != 2:
        got = f"{len(result)} things" if isinstance(result, tuple | list) else type(result).__name__
        raise _NotYet(f"your function gives {got}, expected two: weights and bias.")
    given, offset = (_tensor(part) for part in result)
    _expect_shape(given, (3, 5), "your weights have shape", ", (C, K)")
    _expect_shape(offset, (3,), "your bias has shape", ", one number for each class")
    truth = weight / deviation
    slips = {
        "the weights are as they were: what does a raw feature get multiplied by?": weight,
        "the weights are multiplied by the deviation: a feature was divided by it.": weight
        * deviation,
        "the weights are divided by the variance: a feature was divided by the deviation.": weight
        / deviation.square(),
        "the mean is taken off the weights: it is taken off the features.": [
            weight - mean,
            (weight - mean) / deviation,
        ],
        "your weights are others than those of a raw feature: write out the decision value and "
        "collect what stands before each F_k.": True,
    }
    _compare(given, truth, slips)
    shift = truth @ mean
    slips = {
        "the weights are right, the bias is as it was: the mean moves it.": bias,
        "the weights are right, but the mean moves the bias the other way.": bias + shift,
        "the weights are right; in the bias the mean has to be divided by the deviation too.": [
            bias - weight @ mean,
            bias + weight @ mean,
        ],
        "the weights are right; the old bias is missing.": [-shift, shift],
        "the weights are right, the bias is not: what is left of the decision at F = 0?": True,
    }
    _compare(offset, bias - shift, slips)
    return _right("the same decision values, from features as they come.")


@_check
def maps_after_unit_length(function: Any) -> Verdict:
    """A function (features (N, K, H, W), weight (C, K)) -> maps (N, C, H, W), means w . F / |F|."""
    randn = _randn(32)
    features, weight = randn(3, 4, 5, 6).relu() + 0.1, randn(2, 4)
    given = _tensor(_result(function, features, weight))
    hints: dict[tuple[int, ...], str] = {
        (3, 2): ": those are decision values; the maps have places",
        (3, 4, 5, 6): ": the channels are still there, add them up",
        (2, 5, 6): ": one for each image is asked",
        (3, 5, 6): ": one for each class is asked",
    }
    hint = hints.get(tuple(given.shape), "")
    _expect_shape(given, (3, 2, 5, 6), "for 3 images and 2 classes your answer has shape", hint)
    pooled = features.mean((2, 3))

    def divided(by: Tensor, of: Tensor = features) -> Tensor:
        return torch.einsum("ck,nkhw->nchw", weight, of / by)

    def each(lengths: Tensor) -> Tensor:
        return lengths[:, None, None, None]

    truth = divided(each(pooled.norm(dim=1)))
    slips = {
        "those are the maps without the division by the length.": divided(torch.ones(())),
        "each place is divided by its own length: the SVM saw the length of the mean.": divided(
            features.norm(dim=1, keepdim=True)
        ),
        "that is the length of all activations: the SVM saw that of their mean.": divided(
            each(features.flatten(1).norm(dim=1))
        ),
        "that is the length of the sum over places: the mean is asked.": divided(
            each(features.sum((2, 3)).norm(dim=1))
        ),
        "one length for the whole batch: each image has its own.": [
            divided(pooled.norm()),
            divided(pooled.norm(dim=1).mean()),
        ],
        "that is not the length: square root of the sum of squares.": [
            divided(each(pooled.abs().sum(1))),
            divided(each(pooled.square().sum(1))),
            divided(each(pooled.amax(1))),
        ],
        "the map is multiplied by the length: divide.": divided(each(1 / pooled.norm(dim=1))),
        "the mean of your map is not w . F / |F|: begin with the map of w, then ask what the "
        "decision value is divided by.": True,
    }
    _compare(given, truth, slips)
    return _right("one factor for each image: the places keep their proportions.")


@_check
def square_around(function: Any) -> Verdict:
    """A function (box (4,), height, width) -> the square around it, inside the picture."""
    cases = [
        ((20, 30, 60, 50), 100, 120),  # wide, with room
        ((40, 10, 50, 70), 90, 140),  # high, with room
        ((0, 4, 12, 34), 80, 100),  # sticks out on the left
        ((100, 60, 140, 76), 80, 140),  # below and on the right
        ((10, 20, 110, 40), 60, 120),  # longer than the picture is high
    ]
    rows = []
    for box, height, width in cases:
        result = _result(function, torch.tensor(box), height, width)
        rows.append(_four(result, f"for the box {list(box)} in {height} x {width} your function"))
    given = torch.stack(rows)

    def each(pick: Callable[..., Sequence[float]]) -> Tensor:
        return torch.tensor([list(pick(*box, h, w)) for box, h, w in cases]).double()

    def square(side: float, x: float, y: float) -> tuple[float, ...]:
        return x - side / 2, y - side / 2, x + side / 2, y + side / 2

    def moved(box: Sequence[float], h: float, w: float) -> tuple[float, ...]:
        dx = max(0 - box[0], 0) - max(box[2] - w, 0)
        dy = max(0 - box[1], 0) - max(box[3] - h, 0)
        return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy

    def out(x0: float, y0: float, x1: float, y1: float, h: float, w: float) -> tuple[float, ...]:
        return square(max(x1 - x0, y1 - y0), (x0 + x1) / 2, (y0 + y1) / 2)

    def clipped(*of: float) -> tuple[float, ...]:
        (x0, y0, x1, y1), (h, w) = out(*of), of[-2:]
        return max(x0, 0), max(y0, 0), min(x1, w), min(y1, h)

    def shorter(
        x0: float, y0: float, x1: float, y1: float, h: float, w: float
    ) -> tuple[float, ...]:
        return moved(square(min(x1 - x0, y1 - y0), (x0 + x1) / 2, (y0 + y1) / 2), h, w)

    def right(x0: float, y0: float, x1: float, y1: float, h: float, w: float) -> tuple[float, ...]:
        side = min(max(x1 - x0, y1 - y0), h, w)
        return moved(square(side, (x0 + x1) / 2, (y0 + y1) / 2), h, w)

    def corner(x0: float, y0: float, x1: float, y1: float, h: float, w: float) -> tuple[float, ...]:
        side = min(max(x1 - x0, y1 - y0), h, w)
        return moved((x0, y0, x0 + side, y0 + side), h, w)

    def middle(x0: float, y0: float, x1: float, y1: float, h: float, w: float) -> tuple[float, ...]:
        return square(min(max(x1 - x0, y1 - y0), h, w), w / 2, h / 2)

    slips = {
        "that is the box itself, which is not square.": each(lambda *of: of[:4]),
        "some squares stick out of the picture: move them inside.": each(out),
        "cut off at the border they are no squares: move them inside.": each(clipped),
        "the side is the shorter one: part of the box is lost.": each(shorter),
        "the square begins where the box begins: their middles should agree.": each(corner),
        "the square lies in the middle of the picture: that of the box is asked.": each(middle),
        "those are x, y, width and height: (x0, y0, x1, y1) is asked.": each(
            lambda *of: (
                *right(*of)[:2],
                *(b - a for a, b in zip(right(*of), right(*of)[2:], strict=False)),
            )
        ),
        "the longer side around the middle of the box, then moved inside; and no side may be "
        "longer than the picture.": True,
    }
    _compare(given, each(right), slips, _within(0.51))
    return _right("square, around the box, and inside the picture.")


@_check
def folds_by_photograph(function: Any) -> Verdict:
    """A function (photo of each crop (N,)) -> which crops are trained on in each fold, (P, N)."""
    photo = torch.tensor([2, 0, 1, 0, 2, 2, 1, 0, 3, 1, 3])
    result = _result(function, photo)
    if isinstance(result, Tensor) and result.dtype == torch.bool:
        result = result.long()
    given = _tensor(result)
    lead = "for 11 crops of 4 photographs your answer has shape"
    hint = ": one row for each crop would leave a crop out, not a photograph"
    _expect_shape(given, (4, 11), lead, hint if given.shape == (11, 11) else ", (P, N)")
    truth = (photo[None] != torch.arange(4)[:, None]).double()
    each_row = any(bool((given[order] == truth).all()) for order in _orders(4))
    mixed = [len(row[photo == p].unique()) > 1 for row in given for p in range(4)]
    slips = {
        "those are the crops to test on: true is asked where a crop is trained on.": 1 - truth,
        "the folds are right, in another order: row p leaves out photograph p.": each_row,
        "every crop is trained on in every fold.": torch.ones(4, 11),
        "crops of one photograph are on both sides: they show the same thing twice.": any(mixed),
        "row p is false for the crops of photograph p, and true for all others.": True,
    }
    _compare(given, truth, slips)
    return _right("no photograph is on both sides.")


def _orders(number: int) -> list[list[int]]:
    return [list(order) for order in itertools.permutations(range(number))]
