"""Problem set 1, Where: from features to a score, from a score to its map, and heads without one.

Arguments are drawn so that no two axes have the same length, and so that each wrong way of `slips`
gives other numbers than the right one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from course.tasks import ProblemSet, Task

Array = NDArray[Any]
Generator = np.random.Generator
Pair = tuple[Tensor, Tensor]

SUM = "you add up the places; the average divides their sum by their number, H x W"


def _sizes(rng: Generator, number: int, low: int = 2) -> list[int]:
    """Lengths of axes, no two alike."""
    return [int(size) for size in rng.permutation(number + 1)[:number] + low]


def _features(rng: Generator, n: int, k: int, h: int, w: int) -> Array:
    """Maps as after a ReLU, some channels stronger than others."""
    strength = rng.uniform(0.5, 3.0, size=(k, 1, 1))
    maps = np.maximum(rng.normal(0.3, 1.0, size=(n, k, h, w)), 0.0) * strength
    return maps.astype(np.float32)


def _layer(rng: Generator, c: int, k: int) -> tuple[Array, Array]:
    """Weight (C, K) and bias (C,), of both signs and far from zero."""
    sign = rng.choice([-1.0, 1.0], size=c)
    bias = sign * rng.uniform(0.5, 2.0, size=c)
    return rng.normal(size=(c, k)).astype(np.float32), bias.astype(np.float32)


# 1.1 ----------------------------------------------------------------------------------------


def _draw_average(rng: Generator) -> tuple[Any, ...]:
    n, k, h, w = _sizes(rng, 4)
    features = _features(rng, n, k, h, w)
    if rng.random() < 0.4:  # features before the ReLU
        features = rng.normal(0.5, 1.0, size=features.shape).astype(np.float32)
    return (features[:1] if rng.random() < 0.5 else features,)


def _mean_of_active(features: Tensor) -> Tensor:
    return features.sum(dim=(2, 3)) / (features != 0).sum(dim=(2, 3)).clamp(min=1)


AVERAGE = Task(
    key="1.1",
    function="global_average",
    points=4,
    section="02_fc_versus_gap#What flattening and averaging do to position",
    draw=_draw_average,
    reference=lambda features: features.mean(dim=(2, 3)),
    slips={
        SUM: lambda f: f.sum(dim=(2, 3)),
        "you take the maximum over the places, not their average": lambda f: f.amax(dim=(2, 3)),
        "you average over the channels; each channel keeps a number of its own": (
            lambda f: f.mean(dim=1)
        ),
        "the places are still there as two axes of length 1, and (N, K) was asked": (
            lambda f: f.mean(dim=(2, 3), keepdim=True)
        ),
        "the axis of the images is gone; each image keeps numbers of its own, also a single one": (
            lambda f: f.mean(dim=(0, 2, 3))
        ),
        "you leave out the places whose value is zero; they count as all others": _mean_of_active,
    },
    instances=8,
)


# 1.2 ----------------------------------------------------------------------------------------


def _draw_scores(rng: Generator) -> tuple[Any, ...]:
    n, c, k = _sizes(rng, 3, low=3)
    pooled = rng.uniform(0.0, 2.0, size=(n, k)).astype(np.float32)
    return pooled[:1] if rng.random() < 0.3 else pooled, *_layer(rng, c, k)


def _scores(pooled: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return pooled @ weight.T + bias


SCORES = Task(
    key="1.2",
    function="scores",
    points=4,
    section="03_class_activation_maps#From the score to the map",
    draw=_draw_scores,
    reference=_scores,
    slips={
        "you leave out the bias": lambda f, w, b: f @ w.T,
        "these are probabilities; a score is what softmax is given": (
            lambda f, w, b: _scores(f, w, b).softmax(dim=1)
        ),
        "these are logarithms of probabilities; a score is what softmax is given": (
            lambda f, w, b: _scores(f, w, b).log_softmax(dim=1)
        ),
        "classes come first in your answer, and (N, C) was asked": (
            lambda f, w, b: _scores(f, w, b).T
        ),
        "you cut negative scores to zero": lambda f, w, b: _scores(f, w, b).relu(),
        "you squash the scores with a sigmoid": lambda f, w, b: _scores(f, w, b).sigmoid(),
        "you take the mean over the channels where their sum belongs": (
            lambda f, w, b: (f[:, None] * w).mean(dim=2) + b
        ),
        "you subtract the bias": lambda f, w, b: f @ w.T - b,
    },
    instances=6,
)


# 1.3 ----------------------------------------------------------------------------------------


def _draw_maps(rng: Generator) -> tuple[Any, ...]:
    n, m, k, h, w = _sizes(rng, 5)
    features, (weight, _) = _features(rng, n, k, h, w), _layer(rng, int(rng.integers(8, 11)), k)
    classes = rng.integers(len(weight), size=(n, m))
    # The first row falls at its start, so it is neither sorted nor 0, 1, 2, ...; no row is alike.
    classes[0, 0] = rng.integers(2, len(weight))
    classes[0, 1] = rng.integers(0, classes[0, 0])
    classes[1:, 0] = (classes[0, 0] + rng.integers(1, len(weight), size=n - 1)) % len(weight)
    if rng.random() < 0.4:
        features, classes = features[:1], classes[:1]
    return features, weight, classes


def _maps(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    return torch.einsum("nmk,nkyx->nmyx", weight[classes], features)


def _reshaped_maps(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """Where axes should be moved, the numbers are dealt out anew."""
    n, k, h, w = features.shape
    cells = features.reshape(n, h * w, k)
    return (weight[classes] @ cells.mT).reshape(n, -1, h, w)


def _stretched(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
    return (maps - low) / (high - low)


MAPS = Task(
    key="1.3",
    function="class_maps",
    points=9,
    section="03_class_activation_maps#Three ways to compute it",
    draw=_draw_maps,
    reference=_maps,
    slips={
        "every image gets the classes of the first one": (
            lambda f, w, c: _maps(f, w, c[:1].expand_as(c))
        ),
        "these are the maps of the first M classes, not of those asked for": (
            lambda f, w, c: _maps(f, w, torch.arange(c.shape[1]).expand_as(c) % len(w))
        ),
        "the maps of an image are in the order of their class, not in the order asked": (
            lambda f, w, c: _maps(f, w, c.sort(dim=1).values)
        ),
        "you cut negative values to zero; a map has both signs": (
            lambda f, w, c: _maps(f, w, c).relu()
        ),
        "you take the absolute value; a map has both signs": lambda f, w, c: _maps(f, w, c).abs(),
        "you drop the signs of the weights": lambda f, w, c: _maps(f, w.abs(), c),
        "you divide by the number of places; the map itself is not averaged": (
            lambda f, w, c: _maps(f, w, c) / f[0, 0].numel()
        ),
        "you average over the channels; their weighted values are added up": (
            lambda f, w, c: _maps(f, w, c) / f.shape[1]
        ),
        "you stretch each map to 0 ... 1; its size and its sign have a meaning": (
            lambda f, w, c: _stretched(_maps(f, w, c))
        ),
        "you take the softmax over the maps; a map is in the unit of a score": (
            lambda f, w, c: _maps(f, w, c).softmax(dim=1)
        ),
        "classes come before images in your answer, and (N, M, H, W) was asked": (
            lambda f, w, c: _maps(f, w, c).transpose(0, 1)
        ),
        "a reshape has dealt out the numbers anew, so that values of several channels are mixed; "
        "axes are moved with permute or transpose": _reshaped_maps,
    },
    instances=8,
)


# 1.4 ----------------------------------------------------------------------------------------


def _draw_upsampled(rng: Generator) -> tuple[Any, ...]:
    m, h, w, n = _sizes(rng, 4)
    kind = rng.integers(5)
    if kind == 0:  # larger by whole factors
        size = [h * int(rng.integers(3, 6)), w * int(rng.integers(2, 5))]
    elif kind == 1:  # larger by any factor
        size = [h + int(rng.integers(3, 12)), w + int(rng.integers(3, 12))]
    else:  # smaller in one direction, so that a filter that smooths shows
        h, w = h + 5, w + 4
        size = [h // 2 + 1, w + int(rng.integers(3, 12))]
        if rng.random() < 0.5:
            size = [h + int(rng.integers(3, 12)), w // 2 + 1]
    size[1] += size[0] == size[1]
    shape = [(h, w), (m, h, w), (n, m, h, w)][rng.integers(3)]
    return rng.normal(1.0, 4.0, size=shape).astype(np.float32), size


def _interpolated(maps: Tensor, size: list[int], mode: str, **options: Any) -> Tensor:
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    larger: Tensor = functional.interpolate(flat, size=size, mode=mode, **options)
    return larger.reshape(*maps.shape[:-2], *size)


def _upsampled(maps: Tensor, size: list[int]) -> Tensor:
    return _interpolated(maps, size, "bilinear", align_corners=False)


def _read_at(place: Callable[[Tensor, float, int], Tensor]) -> Callable[..., Tensor]:
    """Bilinear, with weights (pixels, cells) from the pixel's number, cells / pixels and cells."""

    def upsampled(maps: Tensor, size: list[int]) -> Tensor:
        rows, columns = (
            place(torch.arange(pixels), cells / pixels, cells)
            for cells, pixels in zip(maps.shape[-2:], size, strict=True)
        )
        return rows @ maps @ columns.T

    return upsampled


def _hats(u: Tensor, cells: int) -> Tensor:
    return (1 - (u[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def _extrapolated(i: Tensor, step: float, cells: int) -> Tensor:
    u = (i + 0.5) * step - 0.5
    left = u.floor().clamp(0, cells - 2)
    share = (u - left)[:, None]
    first = functional.one_hot(left.long(), cells)
    second = functional.one_hot(left.long() + 1, cells)
    return (1 - share) * first + share * second


UPSAMPLED = Task(
    key="1.4",
    function="upsampled",
    points=8,
    section="03_class_activation_maps#From 7 x 7 to the size of the image",
    draw=_draw_upsampled,
    reference=_upsampled,
    slips={
        "you lay the centres of the corner cells on the corner pixels (align_corners=True); cells "
        "and pixels are areas here": lambda m, s: _interpolated(
            m, s, "bilinear", align_corners=True
        ),
        "you repeat each cell; between the centres of two cells the map is bilinear": (
            lambda m, s: _interpolated(m, s, "nearest")
        ),
        "you take the nearest cell; between the centres of two cells the map is bilinear": (
            lambda m, s: _interpolated(m, s, "nearest-exact")
        ),
        "this is bicubic, and bilinear was asked": lambda m, s: _interpolated(
            m, s, "bicubic", align_corners=False
        ),
        "you average over areas; between the centres of two cells the map is bilinear": (
            lambda m, s: _interpolated(m, s, "area")
        ),
        "your result is smoothed where it gets smaller (antialias); plain bilinear reads the map "
        "at the pixel's centre": lambda m, s: _interpolated(
            m, s, "bilinear", align_corners=False, antialias=True
        ),
        "size is (height, width), and you take it as (width, height)": (
            lambda m, s: _upsampled(m, s[::-1])
        ),
        "you read at i H / h, where half a pixel and half a cell are missing: "
        "u = (i + 1/2) H / h - 1/2": _read_at(
            lambda i, step, cells: _hats((i * step).clamp(0, cells - 1), cells)
        ),
        "you read at (i + 1/2) H / h and forget the half cell: u = (i + 1/2) H / h - 1/2": _read_at(
            lambda i, step, cells: _hats(((i + 0.5) * step).clamp(0, cells - 1), cells)
        ),
        "beyond the centres of the border cells your map falls to zero; there the value of the "
        "border cell goes on": _read_at(
            lambda i, step, cells: _hats((i + 0.5) * step - 0.5, cells)
        ),
        "beyond the centres of the border cells you go on along the slope; there the value of the "
        "border cell goes on": _read_at(_extrapolated),
    },
    instances=8,
)


# 1.5 ----------------------------------------------------------------------------------------


def _draw_peak(rng: Generator) -> tuple[Any, ...]:
    n, m, h, w = _sizes(rng, 4)
    h, w = h + 2, w + 2
    if rng.random() < 0.5:
        h, w = w, h
    maps = rng.uniform(-1.0, 0.6, size=(n, m, h, w))
    # Each map has one cell that is clearly the highest and one that is the lowest, not in a corner.
    for image in maps:
        for one in image:
            high, low = rng.choice(h * w - 2, size=2, replace=False) + 1
            span = one.max() - one.min()
            one.flat[high] = one.max() + span * rng.uniform(0.05, 0.2)
            one.flat[low] = -np.abs(one).max() - span
    maps[rng.integers(n), rng.integers(m)] -= 2.0  # positive nowhere, and has a peak all the same
    maps *= 10 ** rng.uniform(-2, 2)
    corner = rng.uniform(20, 200, size=(n, 2))
    side = rng.permuted(np.tile([[150.0, 310.0]], (n, 1)), axis=1) + rng.uniform(0, 90, (n, 2))
    crops = np.concatenate([corner, corner + side], axis=1)
    return maps.astype(np.float32), crops.astype(np.float32)


def _peak(
    maps: Tensor,
    crops: Tensor,
    half: float = 0.5,
    edge: int = 0,
) -> Tensor:
    """(x, y) of the highest cell; `half` a cell is added, `edge` taken from the number of cells."""
    height, width = maps.shape[2:]
    best = maps.flatten(2).argmax(dim=2)
    row = torch.div(best, width, rounding_mode="floor")
    place = torch.stack([best % width, row], dim=2) + half
    start, end = crops[:, None, :2], crops[:, None, 2:]
    return start + place * (end - start) / (torch.tensor([width, height]) - edge)


def _peak_by_height(maps: Tensor, crops: Tensor) -> Tensor:
    """Row and column from a division by the wrong side."""
    height, width = maps.shape[2:]
    best = maps.flatten(2).argmax(dim=2)
    row = torch.div(best, height, rounding_mode="floor")
    place = torch.stack([best % height, row], dim=2) + 0.5
    start, end = crops[:, None, :2], crops[:, None, 2:]
    return start + place * (end - start) / torch.tensor([width, height])


def _peak_turned(maps: Tensor, crops: Tensor) -> Tensor:
    """The column is scaled by the height, the row by the width, and the numbers come as (x, y)."""
    height, width = maps.shape[2:]
    best = maps.flatten(2).argmax(dim=2)
    place = torch.stack([torch.div(best, width, rounding_mode="floor"), best % width], dim=2) + 0.5
    start, end = crops[:, None, :2], crops[:, None, 2:]
    return start + place * (end - start) / torch.tensor([height, width])


PEAK = Task(
    key="1.5",
    function="peak_in_photo",
    points=7,
    section="03_class_activation_maps#Where does a cell lie?",
    draw=_draw_peak,
    reference=_peak,
    slips={
        "you give (y, x), and (x, y) was asked": lambda m, c: _peak(m, c).flip(2),
        "row and column are swapped: the row says how far down, so it belongs to y": _peak_turned,
        "you give the upper left corner of the cell, and its centre was asked": (
            lambda m, c: _peak(m, c, half=0.0)
        ),
        "you give the lower right corner of the cell, and its centre was asked": (
            lambda m, c: _peak(m, c, half=1.0)
        ),
        "you divide by W - 1 and H - 1 cells; W cells side by side fill the width of the cut": (
            lambda m, c: _peak(m, c, half=0.0, edge=1)
        ),
        "you forget where the cut begins: x0 and y0 are missing": (
            lambda m, c: _peak(m, c) - c[:, None, :2]
        ),
        "you take x1 and y1 for width and height; the width is x1 - x0": (
            lambda m, c: _peak(m, torch.cat([c[:, :2], c[:, :2] + c[:, 2:]], dim=1))
        ),
        "you use the cut of the first image for all": (lambda m, c: _peak(m, c[:1].expand_as(c))),
        "you take the lowest cell, or the largest absolute value; a negative place is no peak": (
            lambda m, c: _peak(m.abs(), c)
        ),
        "you take one peak for all maps of an image; each map has its own": (
            lambda m, c: _peak(m.amax(dim=1, keepdim=True).expand_as(m), c)
        ),
        "row and column come from a division by H; a row has W cells": _peak_by_height,
    },
    instances=6,
)


# 1.6 ----------------------------------------------------------------------------------------


def _draw_gaps(rng: Generator) -> tuple[Any, ...]:
    n, m, h, w = _sizes(rng, 4)
    c = m + 3
    # Each class has a size of its own, from a millionth to a million.
    size = 10.0 ** rng.permuted(np.linspace(-6, 6, c))
    bias = size * rng.choice([-1.0, 1.0], size=c) * rng.uniform(0.4, 1.2, size=c)
    classes = rng.permuted(np.tile(np.arange(c), (n, 1)), axis=1)[:, :m]
    shift = rng.uniform(-0.6, 0.4, size=(n, m, 1, 1))  # some maps are mostly negative
    maps = size[classes][:, :, None, None] * (rng.uniform(-1.0, 1.0, size=(n, m, h, w)) + shift)
    # Scores: of no map at all, then those of the maps, about half of them wrong.
    scores = size * rng.normal(size=(n, c))
    right = maps.mean(axis=(2, 3)) + bias[classes]
    away = rng.choice([-1.0, 1.0], size=(n, m)) * rng.uniform(0.1, 1.5, size=(n, m))
    wrong = rng.random((n, m)) < 0.6
    wrong[0, :2] = True, False
    away *= wrong * (np.abs(maps).max(axis=(2, 3)) + np.abs(bias[classes]))
    np.put_along_axis(scores, classes, right + away, axis=1)
    if rng.random() < 0.5:  # a class without any weight: map, bias and score are zero
        silent = classes[-1, -1]
        bias[silent], scores[:, silent] = 0.0, 0.0
        maps[classes == silent] = 0.0
    small = (value.astype(np.float32) for value in (maps, bias, scores))
    return *small, classes


def _gaps(
    maps: Tensor,
    bias: Tensor,
    logits: Tensor,
    classes: Tensor,
    size: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    with_bias: bool = True,
    pooled: Callable[[Tensor], Tensor] | None = None,
    signed: bool = False,
) -> Tensor:
    """|mean(map) + b - S| in units of max |map| + |b|; the other arguments are ways to err."""
    offset, scores = bias[classes], logits.gather(1, classes)
    mean = maps.mean(dim=(2, 3)) if pooled is None else pooled(maps)
    difference = mean + offset * with_bias - scores
    largest = maps.abs().amax(dim=(2, 3)) + offset.abs()
    if size is not None:
        largest = size(maps, offset, scores)
    gap = (difference if signed else difference.abs()) / largest
    return torch.where(difference == 0, 0.0, gap)


def _gaps_by(**ways: Any) -> Callable[..., Tensor]:
    def gaps(maps: Tensor, bias: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
        return _gaps(maps, bias, logits, classes, **ways)

    return gaps


def _in_order(maps: Tensor, bias: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    """Scores and biases of classes 0, 1, 2, ..., whichever the maps are of."""
    return _gaps(maps, bias, logits, torch.arange(classes.shape[1]).expand_as(classes))


GAPS = Task(
    key="1.6",
    function="identity_gaps",
    points=8,
    section="03_class_activation_maps#A map that is none",
    draw=_draw_gaps,
    reference=_gaps,
    slips={
        "you leave the bias out of the sum that is compared with the score": (
            _gaps_by(with_bias=False)
        ),
        "you add up the places; the identity of a network that averages has the mean of the map": (
            _gaps_by(pooled=lambda m: m.sum(dim=(2, 3)))
        ),
        "you measure against the score, which can be near zero while its map is not": (
            _gaps_by(size=lambda m, b, s: s.abs())
        ),
        "you measure against the largest value; where a map is mostly negative, its size is the "
        "largest absolute value": (_gaps_by(size=lambda m, b, s: m.amax(dim=(2, 3)) + b.abs())),
        "you measure against the map alone; |b| belongs to the size": (
            _gaps_by(size=lambda m, b, s: m.abs().amax(dim=(2, 3)))
        ),
        "b enters the size with its sign, and |b| was asked": (
            _gaps_by(size=lambda m, b, s: m.abs().amax(dim=(2, 3)) + b)
        ),
        "you measure all maps against the largest of all; each has a size of its own": (
            _gaps_by(size=lambda m, b, s: (m.abs().amax(dim=(2, 3)) + b.abs()).max())
        ),
        "your differences are not measured against anything": (
            _gaps_by(size=lambda m, b, s: torch.ones_like(s))
        ),
        "some of your gaps are negative; the absolute value is missing": (_gaps_by(signed=True)),
        "you take scores and biases of the first M classes; `classes` says whose the maps are": (
            _in_order
        ),
        "a small number in the divisor hides the gap of small maps; scores can be of any size": (
            _gaps_by(size=lambda m, b, s: m.abs().amax(dim=(2, 3)) + b.abs() + 1e-8)
        ),
    },
    absolute=True,
    instances=8,
)


# 1.8 ----------------------------------------------------------------------------------------


def _draw_for_sums(rng: Generator) -> tuple[Any, ...]:
    c, k, h, w = _sizes(rng, 4)
    return *_layer(rng, c, k), h, w


FOR_SUMS = Task(
    key="1.8",
    function="for_sums",
    points=4,
    section="03_class_activation_maps#Sum or mean",
    draw=_draw_for_sums,
    reference=lambda weight, bias, height, width: (weight / (height * width), bias),
    slips={
        "you multiply by the number of places; a sum is already larger than an average": (
            lambda w, b, y, x: (w * y * x, b)
        ),
        "you divide the bias too; it is added once, whatever the pooling": (
            lambda w, b, y, x: (w / (y * x), b / (y * x))
        ),
        "you leave the weights as they are": lambda w, b, y, x: (w, b),
        "you divide by the height alone; there are H x W places": lambda w, b, y, x: (w / y, b),
        "you divide by the width alone; there are H x W places": lambda w, b, y, x: (w / x, b),
        "you multiply the bias as well, and the weights must get smaller": (
            lambda w, b, y, x: (w * y * x, b * y * x)
        ),
        "you change the bias; only the weights see the pooled features": (
            lambda w, b, y, x: (w, b / (y * x))
        ),
    },
)


# 1.9 ----------------------------------------------------------------------------------------


def _draw_top(rng: Generator) -> tuple[Any, ...]:
    while True:
        n, h, w, count = _sizes(rng, 4)
        k, c = count + 6 + int(rng.integers(5)), 9
        features, (weight, _) = _features(rng, n, k, h, w), _layer(rng, c, k)
        features *= rng.uniform(0.2, 1.0, size=(n, k, 1, 1)).astype(np.float32)
        features[:, rng.integers(k)] = 0.0  # a channel that is silent for these images
        classes = rng.permutation(c)[:n]
        given = weight[classes] * features.mean(axis=(2, 3))
        ranked = np.sort(given, axis=1)[:, ::-1]
        # No ties, also of sizes, so that rounding does not decide about the order.
        steps = np.abs(np.diff(ranked[:, : count + 1], axis=1))
        if steps.min() > 2e-3 * np.abs(given).max():
            return features, weight, classes, count


def _ranked(by: Tensor, values: Tensor, count: int) -> Pair:
    channels = by.argsort(dim=1, descending=True)[:, :count]
    return channels, values.gather(1, channels)


def _given(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    return weight[classes] * features.mean(dim=(2, 3))


def _top(features: Tensor, weight: Tensor, classes: Tensor, count: int) -> Pair:
    given = _given(features, weight, classes)
    return _ranked(given, given, count)


TOP = Task(
    key="1.9",
    function="top_channels",
    points=7,
    section="02_fc_versus_gap#Three small steps",
    draw=_draw_top,
    reference=_top,
    slips={
        "you rank by the weight alone; a channel that is silent in the image gives nothing": (
            lambda f, w, c, n: _ranked(w[c], _given(f, w, c), n)
        ),
        "you rank by the weight alone, and give weights where contributions were asked": (
            lambda f, w, c, n: _ranked(w[c], w[c], n)
        ),
        "you rank by the activation alone; the class has a weight for it": (
            lambda f, w, c, n: _ranked(f.mean(dim=(2, 3)), _given(f, w, c), n)
        ),
        "you rank by the activation alone, and give activations where contributions were asked": (
            lambda f, w, c, n: _ranked(f.mean(dim=(2, 3)), f.mean(dim=(2, 3)), n)
        ),
        "you rank by size; a channel with a large negative contribution lowers the score most": (
            lambda f, w, c, n: _ranked(_given(f, w, c).abs(), _given(f, w, c), n)
        ),
        "your ranking starts with the lowest": (
            lambda f, w, c, n: _ranked(-_given(f, w, c), _given(f, w, c), n)
        ),
        "you pool with the maximum; these heads average": (
            lambda f, w, c, n: _ranked(w[c] * f.amax(dim=(2, 3)), w[c] * f.amax(dim=(2, 3)), n)
        ),
        SUM: lambda f, w, c, n: _top(f * f[0, 0].numel(), w, c, n),
        "you use the class of the first image for all": (
            lambda f, w, c, n: _top(f, w, c[:1].expand_as(c), n)
        ),
        "contributions come first in your answer; the numbers of the channels were asked first": (
            lambda f, w, c, n: _top(f, w, c, n)[::-1]
        ),
        "you give shares of the score; contributions are in its unit": (
            lambda f, w, c, n: (
                _top(f, w, c, n)[0],
                _top(f, w, c, n)[1] / _given(f, w, c).sum(dim=1, keepdim=True),
            )
        ),
        "you rank one list for all images; each has its own": (
            lambda f, w, c, n: _ranked(
                _given(f, w, c).mean(dim=0).expand(len(f), -1), _given(f, w, c), n
            )
        ),
    },
    instances=6,
)


# 1.11 ---------------------------------------------------------------------------------------


def _draw_norm(rng: Generator) -> tuple[Any, ...]:
    c, k = rng.permutation([4, 5, 6, 7])[:2]
    weight, bias = _layer(rng, c, k)
    mean = rng.uniform(0.3, 2.0, size=k)
    variance = rng.permuted(np.geomspace(2e-3, 3.0, k))
    gamma = rng.uniform(0.4, 1.8, size=k) * rng.choice([-1.0, 1.0, 1.0], size=k)
    beta = rng.normal(0.0, 1.0, size=k) + 0.2
    others = (one.astype(np.float32) for one in (mean, variance, gamma, beta))
    return weight, bias, *others, float(rng.choice([1e-5, 1e-4, 1e-3]))


def _folded(
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
) -> Pair:
    factor = gamma / (variance + eps).sqrt()
    return weight * factor, bias + weight @ (beta - mean * factor)


def _folded_by(
    factor: Callable[[Tensor, Tensor, float], Tensor],
) -> Callable[..., Pair]:
    """Another factor of the channels, from gamma, variance and eps."""

    def folded(w: Tensor, b: Tensor, m: Tensor, v: Tensor, g: Tensor, t: Tensor, e: float) -> Pair:
        scale = factor(g, v, e)
        return w * scale, b + w @ (t - m * scale)

    return folded


WITHOUT_NORM = Task(
    key="1.11",
    function="without_norm",
    points=8,
    section="03_class_activation_maps#A map that is none",
    draw=_draw_norm,
    reference=_folded,
    slips={
        "you leave out eps": lambda w, b, m, v, g, t, e: _folded(w, b, m, v, g, t, 0.0),
        "you add eps after the root; batch norm adds it to the variance": _folded_by(
            lambda g, v, e: g / (v.sqrt() + e)
        ),
        "you divide by the variance; batch norm divides by its root": _folded_by(
            lambda g, v, e: g / (v + e)
        ),
        "you multiply by the deviation; batch norm divides by it": _folded_by(
            lambda g, v, e: g * (v + e).sqrt()
        ),
        "gamma is missing": _folded_by(lambda g, v, e: 1 / (v + e).sqrt()),
        "the bias is still that of the layer; what batch norm subtracts and adds goes into it": (
            lambda w, b, m, v, g, t, e: (_folded(w, b, m, v, g, t, e)[0], b)
        ),
        "the layer's own bias is missing": (
            lambda w, b, m, v, g, t, e: _folded(w, 0 * b, m, v, g, t, e)
        ),
        "beta is missing": lambda w, b, m, v, g, t, e: _folded(w, b, m, v, g, 0 * t, e),
        "the mean is missing in the bias": (
            lambda w, b, m, v, g, t, e: _folded(w, b, 0 * m, v, g, t, e)
        ),
        "the mean goes into the bias with the wrong sign": (
            lambda w, b, m, v, g, t, e: _folded(w, b, -m, v, g, t, e)
        ),
        "beta is added after the layer; it comes before, so the weights apply to it": (
            lambda w, b, m, v, g, t, e: (
                _folded(w, b, m, v, g, t, e)[0],
                _folded(w, b, m, v, g, 0 * t, e)[1] + t.sum(),
            )
        ),
        "the mean is subtracted before the scaling, so it is scaled as well": (
            lambda w, b, m, v, g, t, e: (_folded(w, b, m, v, g, t, e)[0], b + w @ (t - m))
        ),
        "you multiply beta by the factor of the channel; it is added after the scaling": (
            lambda w, b, m, v, g, t, e: _folded(w, b, m, v, g, t * g / (v + e).sqrt(), e)
        ),
    },
    instances=6,
)


# 1.12 ---------------------------------------------------------------------------------------


def _draw_concat(rng: Generator) -> tuple[Any, ...]:
    n, k, h, w, c = _sizes(rng, 5)
    features = _features(rng, n, k, h, w)
    features[:, rng.integers(k)] *= rng.random((n, 1, 1)) < 0.5  # silent in some images
    return features, _layer(rng, c, 2 * k)[0]


def _peaks(features: Tensor) -> Tensor:
    """Each channel at the place of its maximum, zero elsewhere; times H x W, so its mean is it."""
    flat = features.flatten(2)
    peaks = torch.zeros_like(flat)
    best = flat.argmax(dim=2, keepdim=True)
    peaks.scatter_(2, best, flat.gather(2, best) * flat.shape[2])
    return peaks.reshape(features.shape)


def _all_maps(features: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("ck,nkyx->ncyx", weight, features)


def _halves(weight: Tensor) -> Pair:
    k = weight.shape[1] // 2
    return weight[:, :k], weight[:, k:]


def _concat(features: Tensor, weight: Tensor) -> Tensor:
    of_maximum, of_average = _halves(weight)
    return _all_maps(features, of_average) + _all_maps(_peaks(features), of_maximum)


def _spread(features: Tensor, weight: Tensor) -> Tensor:
    of_maximum, of_average = _halves(weight)
    evenly = features.amax(dim=(2, 3)) @ of_maximum.T
    return _all_maps(features, of_average) + evenly[:, :, None, None]


def _concat_at_peak_of_map(features: Tensor, weight: Tensor) -> Tensor:
    """All maxima at the highest place of the average's map, not each at its own."""
    of_maximum, of_average = _halves(weight)
    maps = _all_maps(features, of_average)
    flat = maps.flatten(2)
    best = functional.one_hot(flat.argmax(dim=2), flat.shape[2]).reshape(maps.shape)
    score = (features.amax(dim=(2, 3)) @ of_maximum.T)[:, :, None, None]
    return maps + best * score * flat.shape[2]


CONCAT = Task(
    key="1.12",
    function="concat_maps",
    points=8,
    section="02_fc_versus_gap#What about FC layers?",
    draw=_draw_concat,
    reference=_concat,
    slips={
        "you map the average half alone; the score has a part from the maxima": (
            lambda f, w: _all_maps(f, _halves(w)[1])
        ),
        "you map with the weights of the maxima as if they were those of an average": (
            lambda f, w: _all_maps(f, _halves(w)[0])
        ),
        "you add both halves of the weight and map with the sum; only the place of a maximum has a "
        "part in it": lambda f, w: _all_maps(f, _halves(w)[0] + _halves(w)[1]),
        "the halves are swapped: the weights of the maxima come first": (
            lambda f, w: _concat(f, torch.cat(_halves(w)[::-1], dim=1))
        ),
        "the maximum counts in full, not as one of H x W places of an average: its place needs the "
        "factor H x W": lambda f, w: (
            _all_maps(f, _halves(w)[1]) + _all_maps(_peaks(f), _halves(w)[0]) / f[0, 0].numel()
        ),
        "you spread the part of the maxima evenly over the places; the mean is right, the places "
        "are not": _spread,
        "you put all maxima at one place; each channel has its own": _concat_at_peak_of_map,
        "you map the maxima alone; the average half is missing": (
            lambda f, w: _all_maps(_peaks(f), _halves(w)[0])
        ),
        "you divide by the number of places; the map itself is not averaged": (
            lambda f, w: _concat(f, w) / f[0, 0].numel()
        ),
        "you cut negative values to zero; a map has both signs": lambda f, w: _concat(f, w).relu(),
    },
    instances=6,
)


SET = ProblemSet(
    name="set1_where",
    title="Where",
    tasks=(
        AVERAGE,
        SCORES,
        MAPS,
        UPSAMPLED,
        PEAK,
        GAPS,
        FOR_SUMS,
        TOP,
        WITHOUT_NORM,
        CONCAT,
    ),
    written={"1.7": 14, "1.10": 9, "1.13": 10},
)
