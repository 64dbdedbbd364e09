"""Problem set 3, Boxes: from map to box, what counts as found, and choices that do not peek.

Boxes are (x0, y0, x1, y1), half-open pixels, as everywhere in the book. A draw is repeated until
every slip differs from the right answer on it, and no value lies within rounding of a threshold.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy import ndimage
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from course.compare import complaint
from course.plain import as_torch, plain
from course.tasks import ProblemSet, Task

Slips = Mapping[str, Callable[..., Any]]
Array = np.ndarray[Any, Any]

CHAPTER = "06_from_map_to_box"
RULE = "07_localization_without_boxes"
EXTENT = "08_average_or_maximum"


def _telling(
    make: Callable[[Generator], tuple[Any, ...] | None],
    reference: Callable[..., Any],
    slips: Slips,
) -> Callable[[Generator], tuple[Any, ...]]:
    """A draw on which reference and slips all have different answers.

    Args:
        make: an instance, or None for one that has something within rounding of a threshold.
    """

    def differ(arguments: tuple[Any, ...]) -> bool:
        answers = [plain(reference(*as_torch(arguments)))]
        for slip in slips.values():
            answer = plain(slip(*as_torch(arguments)))
            if not all(complaint(answer, other, {}) for other in answers):
                return False
            answers.append(answer)
        return True

    made: dict[int, tuple[Any, ...]] = {}  # by the state of the random numbers: one class, one seed

    def draw(rng: Generator) -> tuple[Any, ...]:
        start = int(rng.bit_generator.state["state"]["state"])
        for _ in range(2000):
            if start in made:
                return made[start]
            arguments = make(rng)
            if arguments is not None and differ(arguments):
                made[start] = arguments
        raise RuntimeError("no instance on which every slip differs was found")

    return draw


def _sizes(rng: Generator, low: int, high: int, number: int) -> list[int]:
    """Numbers from `low` to `high`, no two alike."""
    return [int(size) for size in rng.permutation(np.arange(low, high + 1))[:number]]


# ---- 3.1: above a share of the maximum ----


def _highest(maps: Tensor) -> Tensor:
    return maps.amax(dim=(1, 2), keepdim=True)


def _above(maps: Tensor, share: float) -> Tensor:
    return (maps > share * _highest(maps)) & (_highest(maps) > 0)


def _min_max(maps: Tensor) -> Tensor:
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    return (maps - lowest) / (_highest(maps) - lowest)


def _top_pixels(maps: Tensor, share: float) -> Tensor:
    return maps > maps.flatten(1).quantile(1 - share, dim=1)[:, None, None]


ABOVE_SLIPS: Slips = {
    "you bring each map from its minimum to its maximum first; the share is of the maximum alone, "
    "and zero stays where it is": lambda maps, share: _min_max(maps) > share,
    "your threshold is a share of 255, whatever the map; it is a share of the map's own maximum": (
        lambda maps, share: maps > share * 255
    ),
    "you compare with the share itself; it has to be multiplied by the map's maximum": (
        lambda maps, share: maps > share
    ),
    "one maximum is used for the whole batch; each map has its own": (
        lambda maps, share: (maps > share * maps.max()) & (_highest(maps) > 0)
    ),
    "a map whose maximum is zero keeps pixels; nothing lies above zero there": (
        lambda maps, share: (maps >= share * _highest(maps)) & (_highest(maps) >= 0)
    ),
    "a map whose maximum is negative keeps pixels; dividing by a negative maximum turns the "
    "order round": lambda maps, share: maps / _highest(maps) > share,
    "you take values without their sign; what is far below zero speaks against the class": (
        lambda maps, share: maps.abs() > share * _highest(maps.abs())
    ),
    "your threshold is a share of the largest absolute value; it is a share of the maximum": (
        lambda maps, share: maps > share * _highest(maps.abs())
    ),
    "you keep a share of the pixels; the share is of the maximum's value, however many pixels "
    "that keeps": _top_pixels,
    "you keep what is below the threshold": lambda maps, share: ~_above(maps, share),
    "you return the values of the pixels that stay; true or false is asked for each pixel": (
        lambda maps, share: maps * _above(maps, share)
    ),
}


def _make_above(rng: Generator) -> tuple[Any, ...] | None:
    h, w = _sizes(rng, 6, 9, 2)
    share = round(float(rng.uniform(0.2, 0.6)), 2)
    noise = rng.normal(size=(5, h, w))
    shapes = [
        noise[0],
        noise[1] - 0.5,
        rng.uniform(0.3, 1, size=(h, w)),  # positive everywhere
        -0.1 - np.abs(noise[3]),  # negative everywhere
        np.minimum(noise[4], 0),  # zero at most
    ]
    scales = 10 ** rng.uniform([-2, 1, 0, 0, 0], [-1, 2.5, 1.5, 1.5, 1.5])
    order = rng.permutation(5)
    maps = np.stack([shapes[i] * scales[i] for i in order]).astype(np.float32)
    highest = maps.max(axis=(1, 2), keepdims=True)
    near = np.abs(maps - share * highest) < 2e-3 * np.abs(highest)
    return None if near.any() else (maps, share)


ABOVE = Task(
    key="3.1",
    function="above_share",
    points=5,
    section=f"{CHAPTER}#A share of what?",
    draw=_telling(_make_above, _above, ABOVE_SLIPS),
    reference=_above,
    slips=ABOVE_SLIPS,
)


# ---- 3.2: the largest region ----

EIGHT = np.ones((3, 3), dtype=int)


def _components(mask: Tensor, structure: Any = EIGHT) -> list[Array]:
    """The connected regions as masks, in the order of their first pixels."""
    numbers, count = ndimage.label(mask.numpy(), structure=structure)
    return [numbers == 1 + i for i in range(count)]


def _region_by(measure: Callable[[Array], float], structure: Any = EIGHT) -> Callable[..., Tensor]:
    def region(mask: Tensor) -> Tensor:
        return torch.from_numpy(max(_components(mask, structure), key=measure))

    return region


def _filled(region: Array) -> Array:
    filled: Array = ndimage.binary_fill_holes(region)
    return filled


def _framed(region: Array) -> Array:
    rows, columns = np.nonzero(region.any(axis=1))[0], np.nonzero(region.any(axis=0))[0]
    frame = np.zeros_like(region)
    frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return frame


def _pixels(region: Array) -> float:
    return float(region.sum())


_largest = _region_by(_pixels)

REGION_SLIPS: Slips = {
    "pixels that touch at a corner are neighbours too; you count four neighbours, not eight": (
        _region_by(_pixels, None)
    ),
    "this is the smallest region": _region_by(lambda region: -_pixels(region)),
    "this is the region that comes first, top to bottom; the one with most pixels is asked": (
        lambda mask: torch.from_numpy(_components(mask)[0])
    ),
    "this is the region that comes last, top to bottom; the one with most pixels is asked": (
        lambda mask: torch.from_numpy(_components(mask)[-1])
    ),
    "this is the mask as it came, with all of its regions": lambda mask: mask.clone(),
    "the background is counted as a region, and it is the largest": lambda mask: ~mask,
    "you compare the boxes around the regions; the number of their pixels is asked": (
        _region_by(lambda region: _pixels(_framed(region)))
    ),
    "you compare the areas inside the outlines, with the holes; the number of pixels is asked": (
        _region_by(lambda region: _pixels(_filled(region)))
    ),
    "the right region, but its holes are filled": (
        lambda mask: torch.from_numpy(_filled(_largest(mask).numpy()))
    ),
    "this is the box around the region, filled; its pixels are asked": (
        lambda mask: torch.from_numpy(_framed(_largest(mask).numpy()))
    ),
}


def _linked(rng: Generator) -> Array:
    """Three rectangles that touch at corners only, one with a hole."""
    sides = [(5, 5), (int(rng.integers(3, 5)), 5), (3, int(rng.integers(4, 6)))]
    shape = np.zeros([sum(axis) for axis in zip(*sides, strict=True)], dtype=bool)
    y = x = 0
    for height, width in sides:
        shape[y : y + height, x : x + width] = True
        y, x = y + height, x + width
    shape[int(rng.integers(1, 4)), int(rng.integers(1, 4))] = False
    return shape


def _corner(rng: Generator) -> Array:
    """Two thin arms: few pixels, a large box."""
    shape = np.zeros((16, 14), dtype=bool)
    shape[:, 0] = shape[0, :] = True
    return shape


def _make_region(rng: Generator) -> tuple[Any, ...] | None:
    h, w = _sizes(rng, 28, 34, 2)
    ring = np.pad(np.zeros((6, 7), dtype=bool), 1, constant_values=True)
    block = np.ones((5, int(rng.integers(6, 8))), dtype=bool)
    specks = [np.ones((1, side), dtype=bool) for side in (1, 2, 2, 3, 3)]
    mask = np.zeros((h, w), dtype=bool)
    for shape in (_corner(rng), _linked(rng), ring, block, *specks):
        shape = np.rot90(shape, int(rng.integers(4)))
        for _ in range(200):
            y, x = (
                int(rng.integers(0, n - m + 1))
                for n, m in zip(mask.shape, shape.shape, strict=True)
            )
            put = np.zeros_like(mask)
            put[y : y + shape.shape[0], x : x + shape.shape[1]] = shape
            if not (ndimage.binary_dilation(put, EIGHT) & mask).any():
                mask |= put
                break
        else:
            return None
    return (mask,)


REGION = Task(
    key="3.2",
    function="largest_region",
    points=5,
    section=f"{CHAPTER}#Three steps",
    draw=_telling(_make_region, _largest, REGION_SLIPS),
    reference=_largest,
    slips=REGION_SLIPS,
)


# ---- 3.3: the box around a mask of cells ----


def _boxes_of(
    masks: Tensor, size: list[int], *, end: float = 1, start: float = 0, scaled: bool = True
) -> Tensor:
    """Boxes of masks, with `start` and `end` added to the first and last row and column."""
    found = torch.zeros(len(masks), 4, dtype=torch.float64)
    steps = [n / m for n, m in zip(size, masks.shape[1:], strict=True)] if scaled else [1.0, 1.0]
    for box, mask in zip(found, masks, strict=True):
        if mask.any():
            ys, xs = (line.nonzero().flatten().tolist() for line in (mask.any(1), mask.any(0)))
            edges = [xs[0] + start, ys[0] + start, xs[-1] + end, ys[-1] + end]
            box[:] = torch.tensor(edges) * torch.tensor([steps[1], steps[0]] * 2)
    return found


def _full_where_empty(masks: Tensor, size: list[int]) -> Tensor:
    whole = torch.tensor([0, 0, size[1], size[0]], dtype=torch.float64)
    return torch.where(masks.any(dim=2).any(dim=1)[:, None], _boxes_of(masks, size), whole)


def _sides(boxes: Tensor) -> Tensor:
    """(x, y, width, height)."""
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)


SWAPPED = [1, 0, 3, 2]

MASK_SLIPS: Slips = {
    "the box ends too early: its end is the first row or column outside, and the last one that is "
    "true is still in it": lambda masks, size: _boxes_of(masks, size, end=0),
    "one pixel is added after the scaling; what has to be counted in is a cell": (
        lambda masks, size: (
            _boxes_of(masks, size, end=0)
            + (masks.sum((1, 2)) > 0)[:, None] * torch.tensor([0, 0, 1, 1])
        )
    ),
    "x and y are swapped: a box is (x0, y0, x1, y1), a mask is indexed [row, column]": (
        lambda masks, size: _boxes_of(masks, size)[:, SWAPPED]
    ),
    "this is x, y, width, height; (x0, y0, x1, y1) is asked": (
        lambda masks, size: _sides(_boxes_of(masks, size))
    ),
    "the size is (height, width); you scale x by the height and y by the width": (
        lambda masks, size: _boxes_of(masks, size[::-1])
    ),
    "the boxes are still in cells of the mask; pixels of the image are asked": (
        lambda masks, size: _boxes_of(masks, size, scaled=False)
    ),
    "the edges run from centre to centre; a cell reaches half its width further": (
        lambda masks, size: _boxes_of(masks, size, start=0.5, end=0.5)
    ),
    "a mask without a true cell gets a box around everything; four zeros are asked": (
        _full_where_empty
    ),
    "the edges are rounded; an edge may lie between two pixels": (
        lambda masks, size: _boxes_of(masks, size).round()
    ),
    "the edges are cut down to whole pixels; an edge may lie between two pixels": (
        lambda masks, size: _boxes_of(masks, size).floor()
    ),
}


def _make_masks(rng: Generator) -> tuple[Any, ...] | None:
    h, w = _sizes(rng, 7, 13, 2)
    size = _sizes(rng, 40, 120, 2)
    if not (size[0] % h and size[1] % w) or abs(size[0] / h - size[1] / w) < 1:
        return None
    masks = np.zeros((5, h, w), dtype=bool)
    for mask in masks[1:4]:  # a few cells each
        y, x = int(rng.integers(0, h - 3)), int(rng.integers(0, w - 3))
        ys, xs = (
            rng.integers(y, rng.integers(y + 1, h), 5),
            rng.integers(x, rng.integers(x + 1, w), 5),
        )
        mask[ys, xs] = True
    masks[3, -1, int(rng.integers(w))] = masks[3, int(rng.integers(h)), -1] = True
    masks[4, int(rng.integers(1, h)), int(rng.integers(1, w))] = True
    return masks[rng.permutation(5)], size


MASKS = Task(
    key="3.3",
    function="boxes_of",
    points=5,
    section=f"{CHAPTER}#Three steps",
    draw=_telling(_make_masks, _boxes_of, MASK_SLIPS),
    reference=_boxes_of,
    slips=MASK_SLIPS,
)


# ---- 3.4: from map to box ----


def _upsampled(maps: Tensor, size: list[int], mode: str = "bilinear", **options: Any) -> Tensor:
    return functional.interpolate(maps[:, None], size=tuple(size), mode=mode, **options)[:, 0]


def _around(kept: Tensor, choose: Callable[..., Array] | None = None) -> Tensor:
    """Box of one region of each mask, the largest unless `choose(regions, i)` says another."""
    found = torch.zeros_like(kept)
    for i, mask in enumerate(kept):
        if mask.any():
            regions = _components(mask)
            region = choose(regions, i) if choose else max(regions, key=_pixels)
            found[i] = torch.from_numpy(region)
    return _boxes_of(found, list(kept.shape[1:])).long()


def _map_boxes(maps: Tensor, size: list[int], share: float) -> Tensor:
    return _around(_above(_upsampled(maps, size), share))


def _of_highest(maps: Tensor, size: list[int], share: float) -> Tensor:
    large = _upsampled(maps, size)
    return _around(
        _above(large, share),
        lambda regions, i: max(regions, key=lambda region: large[i].numpy()[region].max()),
    )


def _of_four(maps: Tensor, size: list[int], share: float) -> Tensor:
    kept = _above(_upsampled(maps, size), share)
    regions = [_region_by(_pixels, None)(one) if one.any() else one for one in kept]
    return _around(torch.stack(regions))


def _of_all(maps: Tensor, size: list[int], share: float) -> Tensor:
    return _around(
        _above(_upsampled(maps, size), share), lambda regions, _: np.any(regions, axis=0)
    )


def _of_smallest(maps: Tensor, size: list[int], share: float) -> Tensor:
    return _around(
        _above(_upsampled(maps, size), share), lambda regions, _: min(regions, key=_pixels)
    )


def _cut_cells(maps: Tensor, size: list[int], share: float) -> Tensor:
    return _around(_upsampled(_above(maps, share).float(), size, "nearest-exact") > 0)


def _cell_maximum(maps: Tensor, size: list[int], share: float) -> Tensor:
    kept = _upsampled(maps, size) > share * _highest(maps)
    return _around(kept & (_highest(maps) > 0))


def _batch_maximum(maps: Tensor, size: list[int], share: float) -> Tensor:
    large = _upsampled(maps, size)
    return _around(large > share * large.max())


def _last_inside(boxes: Tensor) -> Tensor:
    return boxes - boxes.any(dim=1, keepdim=True) * torch.tensor([0, 0, 1, 1])


MAP_SLIPS: Slips = {
    "the cells are cut and then enlarged; the map has to be upsampled first": _cut_cells,
    "align_corners is on, which pulls the map to the border; cells are areas": (
        lambda maps, size, share: _around(_above(_upsampled(maps, size, align_corners=True), share))
    ),
    "the map is upsampled bicubic, not bilinear": (
        lambda maps, size, share: _around(_above(_upsampled(maps, size, "bicubic"), share))
    ),
    "negative values are cut off before the upsampling, which moves the place where the map "
    "crosses the threshold": (
        lambda maps, size, share: _around(_above(_upsampled(maps.relu(), size), share))
    ),
    "you bring each map from its minimum to its maximum first; the share is of the maximum alone": (
        lambda maps, size, share: _around(_min_max(_upsampled(maps, size)) > share)
    ),
    "your threshold is a share of 255, whatever the map; it is a share of the map's own maximum": (
        lambda maps, size, share: _around(_upsampled(maps, size) > share * 255)
    ),
    "you compare with the share itself; it has to be multiplied by the map's maximum": (
        lambda maps, size, share: _around(_upsampled(maps, size) > share)
    ),
    "one maximum is used for the whole batch; each map has its own": _batch_maximum,
    "your threshold is a share of the cells' maximum; that of the upsampled map is lower": (
        _cell_maximum
    ),
    "a map without a positive value gets a box; no place speaks for the class there": (
        lambda maps, size, share: _around(
            _upsampled(maps, size) / _highest(_upsampled(maps, size)) > share
        )
    ),
    "pixels that touch at a corner are neighbours too; you count four neighbours, not eight": (
        _of_four
    ),
    "this is the box of the region with the highest value; the one with most pixels is asked": (
        _of_highest
    ),
    "the box is around all regions; the one with most pixels is asked": _of_all,
    "this is the box of the smallest region": _of_smallest,
    "the box ends too early: its end is the first row or column outside": (
        lambda maps, size, share: _last_inside(_map_boxes(maps, size, share))
    ),
    "x and y are swapped: a box is (x0, y0, x1, y1), a map is indexed [row, column]": (
        lambda maps, size, share: _map_boxes(maps, size, share)[:, SWAPPED]
    ),
    "this is x, y, width, height; (x0, y0, x1, y1) is asked": (
        lambda maps, size, share: _sides(_map_boxes(maps, size, share))
    ),
    "the size is (height, width); your map is upsampled to (width, height)": (
        lambda maps, size, share: _map_boxes(maps, size[::-1], share)
    ),
}


def _one_map(rng: Generator, h: int, w: int) -> Array:
    """Two narrow bumps, one of them the highest, and two wide low ones that touch at a corner."""
    heatmap = rng.uniform(-0.35, 0.1, size=(h, w))
    y, x = int(rng.integers(0, h - 5)), int(rng.integers(0, w - 5))
    wide = rng.uniform(0.6, 0.85, size=(6, 6))
    wide[:3, 3:] = wide[3:, :3] = 0
    patch = heatmap[y : y + 6, x : x + 6]
    patch[:] = np.where(wide if rng.random() < 0.5 else wide[:, ::-1], wide.max(axis=0), patch)
    for height in (1.0, rng.uniform(0.75, 0.85)):
        places = np.argwhere(~ndimage.binary_dilation(heatmap > 0.5, EIGHT))
        if len(places):
            heatmap[tuple(places[rng.integers(len(places))])] = height
    return heatmap


def _make_maps(rng: Generator) -> tuple[Any, ...] | None:
    h, w = _sizes(rng, 9, 13, 2)
    size = [int(rng.uniform(1.2, 2.2) * n) for n in (h, w)]
    share = round(float(rng.uniform(0.25, 0.55)), 2)
    if size[0] == size[1] or not (size[0] % h and size[1] % w):
        return None
    scales = rng.permutation(10 ** np.array([rng.uniform(-1.5, -0.5), 0.0, rng.uniform(2, 2.7)]))
    maps = [_one_map(rng, h, w) * scale for scale in scales]
    maps.append(-rng.uniform(0.2, 2, size=(h, w)))
    batch = np.stack([maps[i] for i in rng.permutation(4)]).astype(np.float32)
    large = _upsampled(torch.from_numpy(batch), size)
    highest = _highest(large)
    if bool(((large - share * highest).abs() < 5e-4 * highest.abs()).any()):
        return None
    for mask in _above(large, share):
        pixels = sorted(_pixels(region) for region in _components(mask))
        if len(pixels) > 1 and pixels[-1] - pixels[-2] < 4:
            return None
    return batch, size, share


MAPS = Task(
    key="3.4",
    function="map_boxes",
    points=6,
    section=f"{CHAPTER}#Three steps",
    draw=_telling(_make_maps, _map_boxes, MAP_SLIPS),
    reference=_map_boxes,
    slips=MAP_SLIPS,
)


# ---- 3.5: intersection over union ----


def _corners(boxes: Tensor, others: Tensor) -> Tensor:
    """Width and height of every overlap, negative where boxes do not meet, (N, M, 2)."""
    a, b = boxes[:, None].double(), others[None].double()
    return torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).double().prod(dim=-1)


def _both(boxes: Tensor, others: Tensor) -> Tensor:
    return _corners(boxes, others).clamp(min=0).prod(dim=2)


def _ious(boxes: Tensor, others: Tensor) -> Tensor:
    both = _both(boxes, others)
    return both / (_areas(boxes)[:, None] + _areas(others) - both).clamp(min=1e-9)


def _unclamped(boxes: Tensor, others: Tensor) -> Tensor:
    both = _corners(boxes, others).prod(dim=2)
    return both / (_areas(boxes)[:, None] + _areas(others) - both)


def _late_clamp(boxes: Tensor, others: Tensor) -> Tensor:
    both = _corners(boxes, others).prod(dim=2).clamp(min=0)
    return (both / (_areas(boxes)[:, None] + _areas(others) - both)).nan_to_num(0)


def _last_pixel(boxes: Tensor, others: Tensor) -> Tensor:
    grown, other = (one + torch.tensor([0, 0, 1, 1]) for one in (boxes, others))
    return _ious(grown, other)


def _as_sides(boxes: Tensor, others: Tensor) -> Tensor:
    moved = [torch.cat([one[:, :2], one[:, :2] + one[:, 2:]], dim=1) for one in (boxes, others)]
    return _ious(*moved)


def _over(total: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def ratio(boxes: Tensor, others: Tensor) -> Tensor:
        both = _both(boxes, others)
        a, b = _areas(boxes)[:, None].expand_as(both), _areas(others).expand_as(both)
        return both / total(a, b).clamp(min=1e-9)

    return ratio


IOU_SLIPS: Slips = {
    "two empty boxes give 0/0, NaN; the overlap of an empty box is zero": (
        lambda boxes, others: box_iou(boxes.double(), others.double())
    ),
    "boxes that do not meet have a negative width and a negative height, and their product is "
    "positive": _unclamped,
    "the product is cut off at zero, but two negative sides have a positive product": _late_clamp,
    "one pixel is added to each side; these boxes are half-open": _last_pixel,
    "you read the boxes as x, y, width, height; they are (x0, y0, x1, y1)": _as_sides,
    "you divide by the sum of the two areas, in which the overlap is counted twice": (
        _over(lambda a, b: a + b)
    ),
    "you divide by the smaller area, not by that of the union": _over(torch.minimum),
    "you divide by the larger area, not by that of the union": _over(torch.maximum),
    "you divide by the area of the first box, not by that of the union": _over(lambda a, b: a),
    "you divide by the area of the second box, not by that of the union": _over(lambda a, b: b),
    "the coordinates are cut down to whole numbers": (
        lambda boxes, others: _ious(boxes.floor(), others.floor())
    ),
    "the table is turned: a row belongs to one of the first boxes": (
        lambda boxes, others: _ious(boxes, others).T
    ),
}


def _random_boxes(rng: Generator, number: int) -> Array:
    starts = rng.integers(0, 24, size=(number, 2))
    boxes = np.concatenate([starts, starts + rng.integers(6, 24, size=(number, 2))], axis=1)
    moved: Array = boxes + rng.choice([0, 0.25, 0.5, 0.75], size=(number, 4))
    return moved


def _make_pairs(rng: Generator) -> tuple[Any, ...]:
    n, m = _sizes(rng, 5, 8, 2)
    boxes, others = _random_boxes(rng, n), _random_boxes(rng, m)
    others[0] = boxes[0]
    others[1] = boxes[1] + [1.5, 2.5, -1.5, -1]  # inside
    boxes[2], others[2] = [2, 3, 9.5, 8], [30, 33.5, 41, 40]  # apart in both directions
    boxes[3] = others[3] = 0
    boxes[4, 2] = boxes[4, 0]  # no width
    return tuple(one[rng.permutation(len(one))].astype(np.float32) for one in (boxes, others))


IOU = Task(
    key="3.5",
    function="iou_table",
    points=6,
    section=f"{CHAPTER}#IoU",
    draw=_telling(_make_pairs, _ious, IOU_SLIPS),
    reference=_ious,
    slips=IOU_SLIPS,
    absolute=True,
)


# ---- 3.6: which guesses are hits ----

Target = dict[str, Any]


def _own(target: Target) -> Tensor:
    own: Tensor = target["boxes"][target["labels"] == target["label"]]
    return own


def _fits(guesses: Tensor, boxes: Tensor) -> Tensor:
    return _ious(guesses, boxes).ge(0.5)


def _hits(classes: Tensor, guesses: Tensor, target: Target) -> Tensor:
    found: Tensor = classes.eq(target["label"]) & _fits(guesses, _own(target)).any(dim=1)
    return found


def _hull(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2].amin(dim=0), boxes[:, 2:].amax(dim=0)])[None]


def _centre_inside(guesses: Tensor, boxes: Tensor) -> Tensor:
    centre = (guesses[:, None, :2] + guesses[:, None, 2:]) / 2
    inside = (centre >= boxes[:, :2]) & (centre < boxes[:, 2:])
    return inside.all(dim=2).any(dim=1)


def _hits_where(fit: Callable[[Tensor, Target], Tensor]) -> Callable[..., Tensor]:
    def hits(classes: Tensor, guesses: Tensor, target: Target) -> Tensor:
        return classes.eq(target["label"]) & fit(guesses, target)

    return hits


HIT_SLIPS: Slips = {
    "a guess of another class counts as a hit; its class has to be the image's": (
        lambda classes, guesses, target: _fits(guesses, _own(target)).any(dim=1)
    ),
    "the boxes are not looked at; a hit needs a box that fits, too": (
        lambda classes, guesses, target: classes == target["label"]
    ),
    "a box that fits an instance of another class counts; only instances of the image's class do": (
        _hits_where(lambda guesses, target: _fits(guesses, target["boxes"]).any(dim=1))
    ),
    "each guess is compared with instances of its own class; the image has one class, its label": (
        lambda classes, guesses, target: (
            (classes[:, None] == target["labels"]) & _fits(guesses, target["boxes"])
        ).any(dim=1)
    ),
    "only the first instance of the class is looked at; any of them will do": (
        _hits_where(lambda guesses, target: _fits(guesses, _own(target)[:1]).any(dim=1))
    ),
    "only the last instance of the class is looked at; any of them will do": (
        _hits_where(lambda guesses, target: _fits(guesses, _own(target)[-1:]).any(dim=1))
    ),
    "a guess has to fit all instances of the class, or their average; any of them will do": (
        _hits_where(lambda guesses, target: _ious(guesses, _own(target)).mean(dim=1) >= 0.5)
    ),
    "the IoUs of the instances are added up; one instance has to fit by itself": (
        _hits_where(lambda guesses, target: _ious(guesses, _own(target)).sum(dim=1) >= 0.5)
    ),
    "the guess is compared with one box around all instances; it has to fit one of them": (
        _hits_where(lambda guesses, target: _fits(guesses, _hull(_own(target))).any(dim=1))
    ),
    "an IoU of exactly 0.5 is a hit (is there a `>`, or a small number in the denominator?)": (
        _hits_where(lambda guesses, target: (_ious(guesses, _own(target)) > 0.5).any(dim=1))
    ),
    "an IoU below 0.5 counts as a hit; one pixel is added to each side, and these boxes are "
    "half-open": _hits_where(lambda g, t: (_last_pixel(g, _own(t)) >= 0.5).any(dim=1)),
    "the centre of the box decides; the IoU has to": (
        _hits_where(lambda guesses, target: _centre_inside(guesses, _own(target)))
    ),
    "only the first hit is marked; say it for each guess": (
        lambda classes, guesses, target: (
            (one := _hits(classes, guesses, target)) & (one.cumsum(dim=0) == 1)
        )
    ),
}


def _apart(rng: Generator, number: int) -> Array:
    """Boxes in cells of their own of a grid of 3 x 2, on a canvas of 120 x 80; even sides."""
    found = []
    for cell in rng.permutation(6)[:number]:
        y, x = divmod(int(cell), 3)
        width, height = (2 * int(side) for side in rng.integers(8, 17, 2))
        left, top = (int(rng.integers(0, 39 - side)) for side in (width, height))
        found.append([40 * x + left, 40 * y + top, 40 * x + left + width, 40 * y + top + height])
    return np.array(found, dtype=np.float64)


def _moved(rng: Generator, box: Array) -> Array:
    """A box that fits well: each edge moved by less than a tenth of a side."""
    moved: Array = box + rng.integers(-3, 4, size=4) * 0.25
    return moved


def _part(box: Array, share: float) -> Array:
    """The left part of a box."""
    part: Array = box - np.array([0, 0, (1 - share) * (box[2] - box[0]), 0])
    return part


def _make_hits(rng: Generator) -> tuple[Any, ...] | None:
    label, other, third, nothing = _sizes(rng, 0, 15, 4)
    boxes = _apart(rng, 5)
    a, b, c, d, e = boxes  # three of the class, two of others
    hull = np.concatenate([np.minimum(a, b)[:2], np.maximum(a, b)[2:]])
    width = c[2] - c[0]
    guesses = [
        (label, _moved(rng, a)),
        (label, _moved(rng, b)),
        (label, _moved(rng, d)),  # on an instance of another class
        (label, _part(a, 0.5)),  # exactly half
        (label, _part(c, 0.5 - 0.25 / width)),  # just less
        (label, hull),
        (label, np.zeros(4)),
        (other, _moved(rng, d)),  # right of its own class, which is not the picture's
        (nothing, _moved(rng, c)),
        (label, _part(b, 0.3)),  # its centre is on the instance
        (third, _part(e, 0.3)),
    ]
    # What encloses all three instances, which fits none of them.
    every = np.concatenate([boxes[:3, :2].min(axis=0), boxes[:3, 2:].max(axis=0)])
    guesses.append((label, every))
    labels = np.array([label, label, label, other, third])
    order, row = rng.permutation(5), rng.permutation(len(guesses))
    target = {
        "label": label,
        "labels": labels[order],
        "boxes": boxes[order].astype(np.float32),
    }
    classes = np.array([guesses[i][0] for i in row])
    found = np.stack([guesses[i][1] for i in row]).astype(np.float32)
    return classes, found, target


HITS = Task(
    key="3.6",
    function="hits",
    points=6,
    section=f"{RULE}#What do labels alone buy?",
    draw=_telling(_make_hits, _hits, HIT_SLIPS),
    reference=_hits,
    slips=HIT_SLIPS,
)


# ---- 3.7: the errors of a data set ----

Rates = dict[str, Any]


def _rates(classes: Tensor, labels: Tensor, ious: Tensor, known: Tensor) -> Rates:
    right, fits = classes == labels[:, None], ious >= 0.5
    missed = {
        "classification": ~right[:, 0],
        "top-1": ~(right & fits)[:, 0],
        "top-5": ~(right & fits).any(dim=1),
        "GT-known": known < 0.5,
    }
    return {name: one.double().mean() for name, one in missed.items()}


def _rates_with(key: str, other: Callable[..., Tensor]) -> Callable[..., Rates]:
    """The right errors but for one, given by the images it misses."""

    def rates(classes: Tensor, labels: Tensor, ious: Tensor, known: Tensor) -> Rates:
        wrong = other(classes == labels[:, None], ious >= 0.5, known >= 0.5)
        return _rates(classes, labels, ious, known) | {key: wrong.double().mean()}

    return rates


def _rates_times(function: Callable[[Tensor], Tensor]) -> Callable[..., Rates]:
    return lambda *given: {name: function(rate) for name, rate in _rates(*given).items()}


RATE_SLIPS: Slips = {
    "these are the shares of images that are right; an error is the share that is missed": (
        _rates_times(lambda rate: 1 - rate)
    ),
    "these are per cent; shares between 0 and 1 are asked": _rates_times(lambda rate: 100 * rate),
    "top-5: the class is taken from one guess and the box from another; one guess needs both": (
        _rates_with("top-5", lambda right, fits, known: ~(right.any(1) & fits.any(1)))
    ),
    "top-5: only the classes are looked at": (
        _rates_with("top-5", lambda right, fits, known: ~right.any(1))
    ),
    "top-5: only the boxes are looked at": (
        _rates_with("top-5", lambda right, fits, known: ~fits.any(1))
    ),
    "top-5: the class may be any of the five, but the box has to be its own, not the first one's": (
        _rates_with("top-5", lambda right, fits, known: ~(right.any(1) & fits[:, 0]))
    ),
    "top-5: the average runs over guesses; an image is right as soon as one of its guesses is": (
        _rates_with("top-5", lambda right, fits, known: ~(right & fits))
    ),
    "top-1: the class of the first guess is not looked at": (
        _rates_with("top-1", lambda right, fits, known: ~fits[:, 0])
    ),
    "top-1: the box of the first guess is not looked at": (
        _rates_with("top-1", lambda right, fits, known: ~right[:, 0])
    ),
    "top-1: only images whose class is right are counted; the error is of all images": (
        _rates_with("top-1", lambda right, fits, known: ~fits[:, 0][right[:, 0]])
    ),
    "in GT-known the class that the network answers does not matter here": (
        _rates_with("GT-known", lambda right, fits, known: ~(right[:, 0] & known))
    ),
    "in GT-known this asks for the box of the first guess; the box of the true class is asked": (
        _rates_with("GT-known", lambda right, fits, known: ~fits[:, 0])
    ),
    "in GT-known an image whose class is not among the five has a box of its true class, too": (
        _rates_with("GT-known", lambda right, fits, known: ~(right.any(1) & known))
    ),
    "classification: the first class decides, not any of the five": (
        _rates_with("classification", lambda right, fits, known: ~right.any(1))
    ),
}


def _far_from_half(values: Array) -> Array:
    """Moves what is near 0.5 away from it."""
    return np.where(np.abs(values - 0.5) < 0.01, values + 0.03, values).astype(np.float32)


def _make_rates(rng: Generator) -> tuple[Any, ...]:
    n = int(rng.integers(37, 54))
    labels = rng.integers(0, 12, size=n)
    ious = _far_from_half(rng.uniform(0.05, 0.62, size=(n, 5)))
    known = _far_from_half(rng.uniform(0.1, 1.0, size=n))
    classes = np.zeros((n, 5), dtype=np.int64)
    for i in range(n):
        others = rng.permutation(np.delete(np.arange(12), labels[i]))
        classes[i] = others[:5]
        rank = int(rng.choice([0, 1, 2, 3, 4, 5], p=[0.55, 0.1, 0.05, 0.05, 0.05, 0.2]))
        if rank < 5:  # the map of the true class is one of the five then
            classes[i, rank] = labels[i]
            ious[i, rank] = known[i]
    return classes, labels, ious, known


RATES = Task(
    key="3.7",
    function="error_rates",
    points=5,
    section=f"{RULE}#What do labels alone buy?",
    draw=_telling(_make_rates, _rates, RATE_SLIPS),
    reference=_rates,
    slips=RATE_SLIPS,
)


# ---- 3.9: choose on one set, report on another ----

Choice = tuple[str, float, Tensor]


def _errors(ious: Tensor) -> Tensor:
    return (ious < 0.5).double().mean(dim=2)


def _lowest(values: Tensor) -> tuple[int, int]:
    r, a = divmod(int(values.argmin()), values.shape[1])
    return r, a


def _chosen_by(
    decide: Callable[[Tensor, Tensor], tuple[int, int]], report: str = "test"
) -> Callable[..., Choice]:
    """A choice of network and share, and the error that is reported for it."""

    def choose(valid: Tensor, test: Tensor, names: list[str], shares: list[float]) -> Choice:
        r, a = decide(valid, test)
        return names[r], shares[a], _errors(test if report == "test" else valid)[r, a]

    return choose


def _share_from_test(valid: Tensor, test: Tensor) -> tuple[int, int]:
    r, _ = _lowest(_errors(valid))
    return r, int(_errors(test)[r].argmin())


def _network_from_test(valid: Tensor, test: Tensor) -> tuple[int, int]:
    best = _errors(valid).argmin(dim=1)
    r = int(_errors(test)[torch.arange(len(best)), best].argmin())
    return r, int(best[r])


def _network_by_mean(valid: Tensor, test: Tensor) -> tuple[int, int]:
    r = int(_errors(valid).mean(dim=1).argmin())
    return r, int(_errors(valid)[r].argmin())


def _share_by_mean(valid: Tensor, test: Tensor) -> tuple[int, int]:
    a = int(_errors(valid).mean(dim=0).argmin())
    return int(_errors(valid)[:, a].argmin()), a


def _on_valid(valid: Tensor, test: Tensor) -> tuple[int, int]:
    return _lowest(_errors(valid))


_choose = _chosen_by(_on_valid)

CHOICE_SLIPS: Slips = {
    "network and share are chosen on the test pictures; these must have no say in it": (
        _chosen_by(lambda valid, test: _lowest(_errors(test)))
    ),
    "network and share are chosen on validation and test pictures together; the test pictures "
    "must have no say in it": (
        _chosen_by(lambda valid, test: _lowest(_errors(torch.cat([valid, test], dim=2))))
    ),
    "the network is chosen on validation, but its share on the test pictures": (
        _chosen_by(_share_from_test)
    ),
    "each network's share is chosen on validation, but the network on the test pictures; that is "
    "a choice, too": _chosen_by(_network_from_test),
    "the choice is right, but the error reported is that of the validation pictures": (
        _chosen_by(_on_valid, report="valid")
    ),
    "the highest mean IoU is chosen; the fewest misses are asked": (
        _chosen_by(lambda valid, test: _lowest(-valid.double().mean(dim=2)))
    ),
    "the network is chosen by its mean over all shares; each network comes with its best": (
        _chosen_by(_network_by_mean)
    ),
    "one share is chosen for all networks first; each network comes with its best": (
        _chosen_by(_share_by_mean)
    ),
    "the most misses are chosen, or hits are taken for misses": (
        _chosen_by(lambda valid, test: _lowest(-_errors(valid)))
    ),
    "the choice is right, but this is the share of hits; the error is asked": (
        lambda *given: (*_choose(*given)[:2], 1 - _choose(*given)[2])
    ),
    "this is the place of the share in the list; the share itself is asked": (
        lambda valid, test, names, shares: (
            _choose(valid, test, names, shares)[0],
            _on_valid(valid, test)[1],
            _choose(valid, test, names, shares)[2],
        )
    ),
}


def _make_choice(rng: Generator) -> tuple[Any, ...] | None:
    n, m = int(rng.integers(19, 26)), int(rng.integers(34, 45))
    r, a = int(rng.integers(4, 7)), int(rng.integers(7, 10))
    names = ["alexnet-gap", "alexnet-star-gap", "googlenet", "googlenet-gap", "nin", "vgg16-gap"]
    names = [names[i] for i in rng.permutation(6)[:r]]
    shares = [int(one) / 20 for one in rng.permutation(np.arange(2, 17))[:a]]
    # The same chance of a hit everywhere, so that luck chooses, on either set.
    chance = rng.uniform(0.6, 0.7)
    well, badly = rng.uniform(0.6, 0.95, size=(r, a, 1)), rng.uniform(0.1, 0.45, size=(r, a, 1))
    tables = []
    for k in (n, m):
        hit, place = rng.random((2, r, a, k))
        ious = np.where(hit < chance, 0.51 + (well - 0.51) * place, badly * place)
        tables.append(ious.astype(np.float32))
    errors = np.sort((tables[0] < 0.5).mean(axis=2).flatten())
    return None if errors[0] == errors[1] else (*tables, names, shares)


CHOICE = Task(
    key="3.9",
    function="choose",
    points=6,
    section=f"{CHAPTER}#Choose on one set, report on another",
    draw=_telling(_make_choice, _choose, CHOICE_SLIPS),
    reference=_choose,
    slips=CHOICE_SLIPS,
)


# ---- 3.10: the oracle's advantage ----


def _accuracy(ious: Tensor, overlap: float = 0.5) -> Tensor:
    return (ious >= overlap).double().mean(dim=0)


OVERLAPS = (0.3, 0.5, 0.7)


def _accuracies(valid: Tensor, test: Tensor) -> Rates:
    return {
        "MaxBoxAcc": _accuracy(test).max(),
        "BoxAcc": _accuracy(test)[_accuracy(valid).argmax()],
        "MaxBoxAccV2": torch.stack([_accuracy(test, one).max() for one in OVERLAPS]).mean(),
    }


def _accuracies_with(key: str, other: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Rates]:
    return lambda valid, test: _accuracies(valid, test) | {key: other(valid, test)}


def _one_level_for_all(valid: Tensor, test: Tensor) -> Tensor:
    return torch.stack([_accuracy(test, one) for one in OVERLAPS]).mean(dim=0).max()


def _level_of_half(valid: Tensor, test: Tensor) -> Tensor:
    level = _accuracy(test).argmax()
    return torch.stack([_accuracy(test, one)[level] for one in OVERLAPS]).mean()


def _best_of_each(valid: Tensor, test: Tensor) -> Tensor:
    best = test.amax(dim=1)
    return torch.stack([(best >= one).double().mean() for one in OVERLAPS]).mean()


ACCURACY_SLIPS: Slips = {
    "in MaxBoxAcc each picture gets its own best level; one level has to serve all of them": (
        _accuracies_with("MaxBoxAcc", lambda valid, test: (test.amax(1) >= 0.5).double().mean())
    ),
    "in MaxBoxAcc this is the best level of the validation pictures; the oracle takes the best one "
    "of the test pictures": (
        _accuracies_with("MaxBoxAcc", lambda valid, test: _accuracy(valid).max())
    ),
    "in BoxAcc the level is the best one of the test pictures; it is to be chosen on validation": (
        _accuracies_with("BoxAcc", lambda valid, test: _accuracy(test).max())
    ),
    "in BoxAcc the level is right, but the share reported is that of the validation pictures": (
        _accuracies_with("BoxAcc", lambda valid, test: _accuracy(valid).max())
    ),
    "in BoxAcc the level with the highest mean IoU is chosen; the one with most hits is asked": (
        _accuracies_with(
            "BoxAcc", lambda valid, test: _accuracy(test)[valid.double().mean(dim=0).argmax()]
        )
    ),
    "in MaxBoxAccV2 one level serves all three IoUs; each IoU has its own best level": (
        _accuracies_with("MaxBoxAccV2", _one_level_for_all)
    ),
    "in MaxBoxAccV2 the level is that of IoU 0.5; each IoU has its own best level": (
        _accuracies_with("MaxBoxAccV2", _level_of_half)
    ),
    "in MaxBoxAccV2 each picture gets its own best level; one level has to serve all of them": (
        _accuracies_with("MaxBoxAccV2", _best_of_each)
    ),
    "the axes are confused: a row belongs to a picture, a column to a level": (
        lambda valid, test: {
            "MaxBoxAcc": (test >= 0.5).double().mean(dim=1).max(),
            "BoxAcc": (test >= 0.5)
            .double()
            .mean(dim=1)[int((valid >= 0.5).double().mean(dim=1).argmax()) % len(test)],
            "MaxBoxAccV2": torch.stack(
                [(test >= one).double().mean(dim=1).max() for one in OVERLAPS]
            ).mean(),
        }
    ),
    "these are errors; the shares of pictures with a box that fits are asked": (
        lambda valid, test: {name: 1 - one for name, one in _accuracies(valid, test).items()}
    ),
    "these are per cent; shares between 0 and 1 are asked": (
        lambda valid, test: {name: 100 * one for name, one in _accuracies(valid, test).items()}
    ),
}


def _make_accuracies(rng: Generator) -> tuple[Any, ...] | None:
    levels = int(rng.integers(9, 14))
    tables = []
    top = rng.uniform(0.3, 0.7)
    for n in _sizes(rng, 17, 30, 2):
        own = rng.normal(top, 0.18, size=(n, 1))
        away = np.abs(np.linspace(0, 1, levels) - own)
        best = rng.uniform(0.55, 0.95, size=(n, 1))
        ious = np.clip(best - rng.uniform(0.8, 1.6, size=(n, 1)) * away, 0, 1)
        ious = np.clip(ious + rng.normal(0, 0.04, size=ious.shape), 0, 1)
        for one in OVERLAPS:
            ious = np.where(np.abs(ious - one) < 0.005, ious + 0.012, ious)
        tables.append(ious.astype(np.float32))
    first, second = np.sort((tables[0] >= 0.5).mean(axis=0))[[-1, -2]]
    return None if first == second else tuple(tables)


ACCURACIES = Task(
    key="3.10",
    function="box_accuracies",
    points=5,
    section=f"{RULE}#How localization is measured today",
    draw=_telling(_make_accuracies, _accuracies, ACCURACY_SLIPS),
    reference=_accuracies,
    slips=ACCURACY_SLIPS,
)


# ---- 3.13: the pointing game ----


def _highest_places(maps: Tensor) -> list[tuple[int, int]]:
    return [divmod(int(heatmap.argmax()), heatmap.shape[1]) for heatmap in maps]


def _on_object(
    places: list[tuple[int, int]],
    masks: list[Tensor],
    near: Callable[[Array, Array], Any],
) -> Tensor:
    """Whether `near` says so of the distances in rows and columns to one of the object's pixels."""
    hits = []
    for (y, x), instances in zip(places, masks, strict=True):
        ys, xs = np.nonzero(instances.any(dim=0).numpy())
        hits.append(bool(np.any(near(np.abs(ys - y), np.abs(xs - x)))))
    return torch.tensor(hits)


def _points_with(
    near: Callable[[Array, Array, float], Any],
    which: Callable[[Tensor], Tensor] = lambda instances: instances,
    where: Callable[[Tensor], list[tuple[int, int]]] = _highest_places,
) -> Callable[..., Tensor]:
    def points(maps: Tensor, masks: list[Tensor], tolerance: float) -> Tensor:
        chosen = [which(instances) for instances in masks]
        return _on_object(where(maps), chosen, lambda dy, dx: near(dy, dx, tolerance))

    return points


def _round(dy: Array, dx: Array, tolerance: float) -> Any:
    return dy**2 + dx**2 <= tolerance**2


def _frames(instances: Tensor) -> Tensor:
    return torch.from_numpy(np.stack([_framed(one) for one in instances.numpy()]))


def _centres(instances: Tensor) -> Tensor:
    found = torch.zeros_like(instances)
    for one, mask in zip(found, instances, strict=True):
        y, x = mask.nonzero().double().mean(dim=0).round().long().tolist()
        one[y, x] = True
    return found


_points = _points_with(_round)

POINT_SLIPS: Slips = {
    "the tolerance is left out: a place that is no farther off than that is a hit, too": (
        _points_with(lambda dy, dx, tolerance: (dy == 0) & (dx == 0))
    ),
    "only the first instance is looked at; any of them will do": (
        _points_with(_round, which=lambda instances: instances[:1])
    ),
    "only the last instance is looked at; any of them will do": (
        _points_with(_round, which=lambda instances: instances[-1:])
    ),
    "only the largest instance is looked at; any of them will do": (
        _points_with(
            _round, which=lambda instances: instances[instances.sum((1, 2)).argmax()][None]
        )
    ),
    "rows and columns are swapped: `argmax` counts along the rows": (
        _points_with(_round, where=lambda maps: [(x, y) for y, x in _highest_places(maps)])
    ),
    "the boxes around the instances are asked; the pixels of their masks are what counts": (
        _points_with(_round, which=_frames)
    ),
    "the distance to the centre of an instance is asked; the nearest of its pixels counts": (
        _points_with(_round, which=_centres)
    ),
    "rows and columns are compared with the tolerance one by one; the distance is the root of the "
    "sum of their squares": (
        _points_with(lambda dy, dx, tolerance: (dy <= tolerance) & (dx <= tolerance))
    ),
    "the distances in rows and columns are added; the distance is the root of the sum of their "
    "squares": _points_with(lambda dy, dx, tolerance: dy + dx <= tolerance),
    "the highest place without its sign is taken; far below zero speaks against the class": (
        _points_with(_round, where=lambda maps: _highest_places(maps.abs()))
    ),
    "the lowest place is taken": _points_with(_round, where=lambda maps: _highest_places(-maps)),
    "hits and misses are exchanged": lambda *given: ~_points(*given),
}


KINDS_OF_PLACE = (
    *("in", "second", "edge", "straight", "near", "far", "l", "away", "turned", "deep", "low"),
)


def _l_shape(rng: Generator, h: int, w: int) -> tuple[Array, int, int]:
    """A mask of two arms, and a place in the corner that its box holds and it does not."""
    mask = np.zeros((h, w), dtype=bool)
    mask[2:12, 2:4] = mask[10:12, 2:12] = True
    flips = [bool(one) for one in rng.integers(0, 2, 2)]
    y, x = 3, 10
    if flips[0]:
        mask, y = mask[::-1], h - 1 - y
    if flips[1]:
        mask, x = mask[:, ::-1], w - 1 - x
    return np.ascontiguousarray(mask), y, x


def _make_points(rng: Generator) -> tuple[Any, ...] | None:
    h, w = _sizes(rng, 22, 28, 2)
    tolerance, far, near = [(2.5, (2, 2), (1, 2)), (3.5, (2, 3), (2, 2)), (4.5, (3, 4), (3, 3))][
        int(rng.integers(3))
    ]
    maps, masks = [], []
    for kind in rng.permutation(KINDS_OF_PLACE):
        heatmap = rng.normal(0, 0.5, size=(h, w))
        first, second = np.zeros((2, h, w), dtype=bool)
        top, left = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        first[top : top + 5, left : left + 6] = True
        second[h - 7 : h - 3, w - 8 : w - 3] = True
        instances = [first, second] if rng.random() < 0.5 else [second, first]
        y, x = top + 2, left + 3
        if kind == "second":
            y, x = h - 5, w - 5
        elif kind == "edge":
            y, x = top, left
        elif kind == "straight":
            y = top + 4 + int(tolerance)
        elif kind in ("near", "far"):  # beyond the lower right corner of the first
            dy, dx = near if kind == "near" else far
            y, x = top + 4 + dy, left + 5 + dx
        elif kind == "l":
            shape, y, x = _l_shape(rng, h, w)
            instances = [shape]
        elif kind == "away":
            y, x = h - 4, 2
        elif kind == "turned":  # on the object, and its mirror image at the diagonal is not
            instances = [np.zeros((h, w), dtype=bool)]
            instances[0][1:4, 12:18] = True
            y, x = 2, 15
        heatmap[y, x] = 4
        if kind == "deep":  # on the object it is lowest, next to nothing highest
            heatmap[y, x], heatmap[h - 2, 1] = -6, 4
        if kind == "low":
            heatmap -= 9
        maps.append(heatmap)
        masks.append(np.stack(instances))
    return np.stack(maps).astype(np.float32), masks, tolerance


POINTS = Task(
    key="3.13",
    function="points_at",
    points=5,
    section=f"{RULE}#How localization is measured today",
    draw=_telling(_make_points, _points, POINT_SLIPS),
    reference=_points,
    slips=POINT_SLIPS,
)


# ---- 3.14: recall at a precision ----


def _cuts(heatmap: Tensor, mask: Tensor, *, positive: bool = True) -> tuple[Tensor, Tensor]:
    """Recall and precision of every cut, the one that keeps fewest pixels first."""
    values, order = heatmap.flatten().sort(descending=True)
    inside = mask.flatten()[order].double()
    found = inside.cumsum(0)
    kept = torch.arange(1, len(values) + 1)
    use = values > 0 if positive else torch.ones_like(values, dtype=torch.bool)
    return (found / inside.sum())[use], (found / kept)[use]


def _best_where(values: Tensor, allowed: Tensor) -> Tensor:
    return torch.where(allowed, values, torch.zeros(())).max()


def _recalls(heatmap: Tensor, mask: Tensor, wanted: list[float]) -> Tensor:
    recall, precision = _cuts(heatmap, mask)
    return torch.stack([_best_where(recall, precision >= one) for one in wanted])


def _until_first_miss(heatmap: Tensor, mask: Tensor, wanted: list[float]) -> Tensor:
    recall, precision = _cuts(heatmap, mask)
    going = [(precision >= one).long().cumprod(0).bool() for one in wanted]
    return torch.stack([_best_where(recall, one) for one in going])


def _recall_of_cuts(
    cuts: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Callable[..., Tensor]:
    def recalls(heatmap: Tensor, mask: Tensor, wanted: list[float]) -> Tensor:
        recall, precision = cuts(heatmap, mask)
        return torch.stack([_best_where(recall, precision >= one) for one in wanted])

    return recalls


def _few_shares(heatmap: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    kept = [(heatmap > i / 20 * heatmap.max()) for i in range(20)]
    both = torch.stack([(one & mask).sum() for one in kept]).double()
    return both / mask.sum(), both / torch.stack([one.sum() for one in kept])


def _of_most_precise(heatmap: Tensor, mask: Tensor, wanted: list[float]) -> Tensor:
    recall, precision = _cuts(heatmap, mask)
    one = recall[precision == precision.max()].max()
    return torch.stack([one * bool(precision.max() >= least) for least in wanted])


def _lowest_recall(heatmap: Tensor, mask: Tensor, wanted: list[float]) -> Tensor:
    recall, precision = _cuts(heatmap, mask)
    allowed = [recall[precision >= one] for one in wanted]
    return torch.stack([one.min() if len(one) else torch.zeros(()).double() for one in allowed])


def _least_precise(heatmap: Tensor, mask: Tensor, wanted: list[float]) -> Tensor:
    recall, precision = _cuts(heatmap, mask)
    return torch.stack([_best_where(recall, precision <= one) for one in wanted])


def _of_kept(heatmap: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Recall among the object's pixels above zero only."""
    return _cuts(heatmap, mask & (heatmap > 0))


RECALL_SLIPS: Slips = {
    "you stop at the first cut with too little precision; a lower cut may have enough again": (
        _until_first_miss
    ),
    "pixels at or below zero are kept, too; a map's cuts end at zero": (
        _recall_of_cuts(lambda heatmap, mask: _cuts(heatmap, mask, positive=False))
    ),
    "recall and precision are exchanged: recall is of the object, precision of what is kept": (
        _recall_of_cuts(lambda heatmap, mask: _cuts(heatmap, mask)[::-1])
    ),
    "only a few shares of the maximum are tried; every level of the map is a cut": (
        _recall_of_cuts(_few_shares)
    ),
    "this is the recall of the most precise cut; the largest with enough precision is asked": (
        _of_most_precise
    ),
    "this is the smallest recall with enough precision; the largest is asked": _lowest_recall,
    "cuts with too little precision are taken; the wanted one is the least": _least_precise,
    "recall is counted among the object's pixels above zero; it is of the whole object": (
        _recall_of_cuts(_of_kept)
    ),
    "the highest values of the map without its sign are kept; negative values speak against the "
    "class": _recall_of_cuts(lambda heatmap, mask: _cuts(heatmap.abs(), mask)),
}


def _make_recalls(rng: Generator) -> tuple[Any, ...] | None:
    h, w = _sizes(rng, 14, 22, 2)
    rows, columns = np.mgrid[:h, :w]
    y, x = rng.uniform(0.35, 0.65, 2) * (h, w)
    distance = np.hypot((rows - y) / 5, (columns - x) / 4)
    mask = distance < rng.uniform(0.9, 1.1)
    heatmap = np.exp(-(distance**2)) - 0.45 + rng.normal(0, 0.12, size=(h, w))
    # High places off the object, below a few on it: the precision falls, and rises again.
    on, off = np.argwhere(mask), np.argwhere(~mask)
    for place in on[rng.permutation(len(on))[:4]]:
        heatmap[tuple(place)] = rng.uniform(1.2, 1.4)
    # In half of the maps one of them is the highest of all, and no cut is very precise.
    heights = (1.5 if rng.random() < 0.5 else 1.1, 0.8, 0.6)
    for place, height in zip(off[rng.permutation(len(off))[:3]], heights, strict=True):
        heatmap[tuple(place)] = height
    wanted = [round(float(one), 3) for one in rng.uniform([0.55, 0.7, 0.82], [0.65, 0.8, 0.9])]
    wanted.append(0.985)
    heatmap = heatmap.astype(np.float32)
    values = np.sort(heatmap.flatten())
    _, precision = _cuts(torch.from_numpy(heatmap), torch.from_numpy(mask))
    near = (precision[:, None] - torch.tensor(wanted)).abs().min() < 2e-4
    if np.diff(values).min() < 1e-6 or np.abs(values).min() < 1e-5 or bool(near):
        return None
    return heatmap, mask, [wanted[i] for i in rng.permutation(4)]


RECALLS = Task(
    key="3.14",
    function="recalls",
    points=5,
    section=f"{EXTENT}#How much of the sticker?",
    draw=_telling(_make_recalls, _recalls, RECALL_SLIPS),
    reference=_recalls,
    slips=RECALL_SLIPS,
    instances=8,
)


# ---- 3.15: kinds of failure ----


def _shares(guess: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, share of the guess and share of each instance that both hold."""
    both = _both(guess[None], boxes)[0]
    area = _areas(guess)
    of_guess = both / area if area > 0 else torch.zeros_like(both)
    return _ious(guess[None], boxes)[0], of_guess, both / _areas(boxes)


def _kind(
    answer: int,
    guess: Tensor,
    target: Target,
    *,
    order: tuple[str, ...] = ("several objects", "part only", "too large"),
    class_first: bool = True,
    every: bool = False,
    best: str = "iou",
    exchanged: bool = False,
    least: float = 0.5,
    touching: bool = False,
    beside: str = "beside",
) -> str:
    if class_first and answer != target["label"]:
        return "wrong class"
    own = target["boxes"] if every else _own(target)
    overlap, of_guess, of_object = _shares(guess, own)
    by = {"iou": overlap, "area": of_guess, "share": of_object, "first": -torch.arange(len(own))}
    i = int(by[best].argmax())
    if overlap[i] >= 0.5:
        return "right" if answer == target["label"] else "wrong class"
    if answer != target["label"]:
        return "wrong class"
    held = of_object > 0 if touching else of_object >= least
    if exchanged:
        of_guess, of_object = of_object, of_guess
    true = {
        "several objects": int(held.sum()) > 1,
        "part only": bool(of_guess[i] >= 0.75),
        "too large": bool(of_object[i] >= 0.75),
    }
    return next((kind for kind in order if true[kind]), beside)


def _kinds(answers: Tensor, guesses: Tensor, targets: list[Target], **options: Any) -> list[str]:
    given = zip(answers.tolist(), guesses, targets, strict=True)
    return [_kind(answer, guess, target, **options) for answer, guess, target in given]


def _kinds_with(**options: Any) -> Callable[..., list[str]]:
    return lambda answers, guesses, targets: _kinds(answers, guesses, targets, **options)


def _without_class(answers: Tensor, guesses: Tensor, targets: list[Target]) -> list[str]:
    labels = torch.tensor([target["label"] for target in targets])
    return _kinds(labels, guesses, targets)


def _several_before_right(answers: Tensor, guesses: Tensor, targets: list[Target]) -> list[str]:
    kinds = _kinds(answers, guesses, targets)
    for i, (kind, guess, target) in enumerate(zip(kinds, guesses, targets, strict=True)):
        held = _shares(guess, _own(target))[2] >= 0.5
        if kind == "right" and int(held.sum()) > 1:
            kinds[i] = "several objects"
    return kinds


def _class_where_box_fits(answers: Tensor, guesses: Tensor, targets: list[Target]) -> list[str]:
    """The box first, the class where it is right."""
    boxes_first = _without_class(answers, guesses, targets)
    return [
        "wrong class" if kind == "right" and answer != target["label"] else kind
        for kind, answer, target in zip(boxes_first, answers.tolist(), targets, strict=True)
    ]


KIND_SLIPS: Slips = {
    "the class of the answer is not looked at": _without_class,
    "the box is looked at before the class; with a wrong class the box does not matter": (
        _class_where_box_fits
    ),
    "instances of all classes are counted; only those of the image's class are asked": (
        _kinds_with(every=True)
    ),
    "the first instance is compared; the one with the highest IoU is asked": _kinds_with(
        best="first"
    ),
    "the instance with the largest overlap is compared; the one with the highest IoU is asked": (
        _kinds_with(best="area")
    ),
    "the instance of which the box holds the largest share is compared; the one with the highest "
    "IoU is asked": _kinds_with(best="share"),
    "part only and too large are exchanged: which of the two areas do you divide by?": (
        _kinds_with(exchanged=True)
    ),
    "too large comes before several objects; a box around two instances is asked for first": (
        _kinds_with(order=("part only", "too large", "several objects"))
    ),
    "an instance counts towards several objects as soon as it is touched; half of it has to be "
    "inside": _kinds_with(touching=True),
    "an instance counts towards several objects only when all but a quarter of it is inside; half "
    "is enough": _kinds_with(least=0.75),
    "a box that is right for one instance is called several objects; the IoU comes first": (
        _several_before_right
    ),
    "several objects is never found": _kinds_with(order=("part only", "too large")),
}


def _square_overlap(rng: Generator, box: Array) -> Array:
    """A box that lies partly beside another: shifted right and down by half of each side."""
    width, height = box[2:] - box[:2]
    dx, dy = rng.uniform(0.42, 0.58, 2) * (width, height)
    moved: Array = box + np.array([dx, dy, dx, dy])
    return moved


def _two_beside(rng: Generator) -> tuple[Array, Array]:
    """Two stickers, one beside the other, of different sizes."""
    a = np.array([10, 12, 10 + rng.integers(18, 24), 12 + rng.integers(20, 26)], dtype=float)
    left = a[2] + rng.integers(2, 5)
    b = np.array([left, 14, left + rng.integers(18, 24), 14 + rng.integers(18, 24)], dtype=float)
    return a, b


def _around_both(a: Array, b: Array) -> Array:
    return np.concatenate([np.minimum(a, b)[:2], np.maximum(a, b)[2:]])


def _scene(rng: Generator, kind: str) -> tuple[Array, list[Array], list[int]]:
    """A guess, the boxes and whether each is of the image's class (0) or of another (1)."""
    a, b = _two_beside(rng)
    c = np.array([20, 60, 44, 84], dtype=float) + rng.integers(-3, 4, 4)
    wide = np.array([-8, -9, 9, 8]) * rng.uniform(0.9, 1.1, 4)
    shift = np.array([*rng.integers(-5, 6, 2)] * 2)
    scenes: dict[str, tuple[Array, list[Array], list[int]]] = {
        "fits": (_moved(rng, c), [a, c], [0, 0]),
        "fits other": (_moved(rng, c), [a, c], [0, 1]),  # on a sticker of another class
        "both": (_around_both(a, b), [a, b], [0, 0]),
        "both, barely": (
            np.array(
                [a[0] + 0.35 * (a[2] - a[0]), a[1] - 1, b[0] + 0.62 * (b[2] - b[0]), a[3] + 2]
            ),
            [a, b, c],
            [0, 0, 0],
        ),
        "both of two classes": (_around_both(a, b) + np.array([-3, -4, 5, 4]), [a, b], [0, 1]),
        "one and an edge": (np.array([a[0] - 9, a[1] - 8, b[0] + 5, a[3] + 7]), [a, b], [0, 0]),
        "part": (c + np.array([4, 5, -5, -6]), [a, c], [0, 0]),
        "large": (c + wide, [a, c], [0, 0]),
        "beside": (_square_overlap(rng, c), [a, c], [0, 0]),
        "nothing": (np.zeros(4), [c], [0]),
        "right and half of a small one": (
            a + np.array([-1, -1, 10, 2]),
            [a, np.array([a[2] + 2, a[1] + 2, a[2] + 11, a[1] + 12])],
            [0, 0],
        ),
        "a small one, and the edge of a large one": (
            np.array([20, 20, 50, 50]) + shift,
            [np.array([22, 24, 37, 39]) + shift, np.array([40, 20, 100, 80]) + shift],
            [0, 0],
        ),
        "a part, and the edge of a small one": (
            np.array([44, 24, 64, 44]) + shift,
            [np.array([20, 20, 60, 50]) + shift, np.array([61, 30, 71, 38]) + shift],
            [0, 0],
        ),
    }
    return scenes[kind]


SCENES = (
    "fits",
    "fits other",
    "both",
    "both, barely",
    "both of two classes",
    "one and an edge",
    "part",
    "large",
    "beside",
    "nothing",
    "right and half of a small one",
    "a small one, and the edge of a large one",
    "a part, and the edge of a small one",
)


def _make_kinds(rng: Generator) -> tuple[Any, ...] | None:
    answers, guesses, targets = [], [], []
    wrong = [("fits", 1), ("both", 1), ("part", 1)]  # the class is not the one there
    for i in rng.permutation(len(SCENES) + len(wrong)):
        kind, away = [*((one, 0) for one in SCENES), *wrong][i]
        guess, boxes, others = _scene(rng, kind)
        label = int(rng.integers(16))
        order = rng.permutation(len(boxes))
        kept = np.stack([boxes[j] for j in order])
        if rng.random() < 0.5:  # turned at the diagonal
            guess, kept = guess[SWAPPED], kept[:, SWAPPED]
        answers.append((label + 3 * away) % 16)
        guesses.append(guess)
        labels = np.array([(label + 5 * others[j]) % 16 for j in order])
        targets.append({"label": label, "labels": labels, "boxes": kept.astype(np.float32)})
        iou, of_guess, of_object = _shares(*(torch.from_numpy(v).float() for v in (guess, kept)))
        for values, limits in ((iou, (0.5,)), (of_guess, (0.75,)), (of_object, (0.5, 0.75))):
            if any(bool(((values - limit).abs() < 0.02).any()) for limit in limits):
                return None
    return np.array(answers), np.stack(guesses).astype(np.float32), targets


KINDS = Task(
    key="3.15",
    function="kinds_of_failure",
    points=6,
    section=f"{RULE}#What goes wrong, in pictures",
    draw=_telling(_make_kinds, _kinds, KIND_SLIPS),
    reference=_kinds,
    slips=KIND_SLIPS,
)

SET = ProblemSet(
    name="set3_boxes",
    title="Boxes",
    tasks=(
        ABOVE,
        REGION,
        MASKS,
        MAPS,
        IOU,
        HITS,
        RATES,
        CHOICE,
        ACCURACIES,
        POINTS,
        RECALLS,
        KINDS,
    ),
    written={"3.8": 7, "3.11": 8, "3.12": 7, "3.16": 13},
)
