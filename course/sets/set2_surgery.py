"""Problem set 2, Surgery: what is cut, what comes in its place, where cells lie, what it cost.

The right answers are written without `handout.py`, from the same arrays that the student's side
gets. Draws are repeated until each wrong way of `slips` that can be told from the right one on any
instance is told on this one.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn import functional

from course.compare import complaint
from course.plain import as_torch, plain
from course.tasks import ProblemSet, Task

Array = NDArray[Any]
Generator = np.random.Generator
Way = Callable[..., Any]
Layer = dict[str, Any]


def _telling(
    draw: Callable[[Generator], tuple[Any, ...]],
    reference: Way,
    slips: Mapping[str, Way],
    tolerance: float = 1e-4,
    absolute: bool = False,
) -> Callable[[Generator], tuple[Any, ...]]:
    """The draw, repeated until each slip answers otherwise than the reference, and they differ."""

    def drawn(rng: Generator) -> tuple[Any, ...]:
        for _ in range(2000):
            arguments = draw(rng)
            right = plain(reference(*as_torch(arguments)))
            wrong = [plain(slip(*as_torch(arguments))) for slip in slips.values()]
            if all(
                complaint(one, other, {}, 20 * tolerance, absolute)
                for one, other in itertools.combinations([right, *wrong], 2)
            ):
                return arguments
        raise RuntimeError("no instance tells all slips from the right answer")

    return drawn


# 2.1 ----------------------------------------------------------------------------------------


def _draw_layers(rng: Generator) -> tuple[Any, ...]:
    """A network's layers that have a window, and the side of the picture."""
    layers = []
    for _ in range(int(rng.integers(5, 8))):
        pool = bool(rng.random() < 0.5)
        kernel = int(rng.choice([2, 3, 3] if pool else [1, 3, 5, 7]))
        stride = int(rng.choice([2, 2, 3] if pool else [1, 1, 2]))
        padding = int(rng.integers(0, kernel // 2 + 1))
        ceil = bool(pool and rng.random() < 0.75)
        layers.append({"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil})
    return layers, int(rng.integers(90, 320))


def _side(
    side: int,
    layer: Layer,
    *,
    pads: int = 2,
    up: bool | None = None,
    drop: bool = True,
    left: int = 1,
    one: int = 1,
) -> int:
    kernel, stride, padding = layer["kernel"], layer["stride"], layer["padding"]
    ceil = layer["ceil"] if up is None else up
    room = side + pads * padding - kernel
    found: int = (math.ceil(room / stride) if ceil else room // stride) + 1
    if ceil and drop and (found - 1) * stride >= side + left * padding:
        found -= 1
    return found - 1 + one


def _sides(layers: list[Layer], side: int, **other: Any) -> list[int]:
    found = []
    for layer in layers:
        side = _side(side, layer, **other)
        found.append(side)
    return found


_SIDES_SLIPS: dict[str, Way] = {
    "you round the side down in every layer; where `ceil` is true it is rounded up": (
        lambda layers, side: _sides(layers, side, up=False)
    ),
    "you round the side up in every layer, also where `ceil` is false": (
        lambda layers, side: _sides(layers, side, up=True)
    ),
    "a last window that would begin beyond the map and its left padding is dropped": (
        lambda layers, side: _sides(layers, side, drop=False)
    ),
    "windows are counted from the edge of the left padding; you drop some that begin on the map": (
        lambda layers, side: _sides(layers, side, left=0)
    ),
    "the padding is added on both sides of the map": (
        lambda layers, side: _sides(layers, side, pads=1)
    ),
    "you leave out the padding": lambda layers, side: _sides(layers, side, pads=0),
    "there is one window more than there are steps between windows": (
        lambda layers, side: _sides(layers, side, one=0)
    ),
    "this is the last side alone; the side after each layer was asked": (
        lambda layers, side: _sides(layers, side)[-1]
    ),
    "each layer is given the side of the picture; it works on what the layer before it left": (
        lambda layers, side: [_side(side, layer) for layer in layers]
    ),
    "the side of the picture stands before those after the layers": (
        lambda layers, side: [side, *_sides(layers, side)]
    ),
}


def _draw_valid_layers(rng: Generator) -> tuple[Any, ...]:
    while True:
        layers, side = _draw_layers(rng)
        if min(_sides(layers, side, pads=0)) >= 3 and _sides(layers, side)[-1] >= 3:
            return layers, side


SIDES = Task(
    key="2.1",
    function="map_sides",
    points=6,
    section="04_network_surgery#All of them",
    draw=_telling(_draw_valid_layers, _sides, _SIDES_SLIPS),
    reference=_sides,
    slips=_SIDES_SLIPS,
    instances=8,
)


# 2.2 ----------------------------------------------------------------------------------------


def _draw_geometry(rng: Generator) -> tuple[Any, ...]:
    layers = []
    for _ in range(int(rng.integers(4, 8))):
        kernel = int(rng.choice([1, 2, 3, 3, 5, 7]))
        stride = int(rng.choice([1, 1, 2, 2, 3]))
        layers.append(
            {"kernel": kernel, "stride": stride, "padding": int(rng.integers(0, kernel // 2 + 1))}
        )
    return (layers,)


def _geometry(
    layers: list[Layer],
    *,
    early: bool = False,
    grows: int = 1,
    pads: float = 1.0,
    origin: float = 0.5,
    steps: bool = True,
    padding_steps: bool = True,
    down: bool = False,
) -> dict[str, float]:
    field, step, first = 1, 1, origin
    for layer in layers:
        kernel, stride, padding = layer["kernel"], layer["stride"], layer["padding"]
        if early:
            step *= stride
        here = step if steps else 1
        field += (kernel - grows) * here
        half = (kernel - 1) // 2 if down else (kernel - 1) / 2
        first += half * here - pads * padding * (here if padding_steps else 1)
        if not early:
            step *= stride
    return {"field": field, "step": step, "first": first}


def _added_strides(layers: list[Layer]) -> dict[str, float]:
    return _geometry(layers) | {"step": sum(layer["stride"] for layer in layers)}


def _left_edge(layers: list[Layer]) -> dict[str, float]:
    right = _geometry(layers)
    return right | {"first": right["first"] - right["field"] / 2}


def _drawn_centre(layers: list[Layer]) -> dict[str, float]:
    right = _geometry(layers)
    return right | {"first": right["step"] / 2}


_GEOMETRY_SLIPS: dict[str, Way] = {
    "a kernel reaches over steps of its input; you lengthen the step first": (
        lambda layers: _geometry(layers, early=True)
    ),
    "a kernel of k reaches over k - 1 steps, not over k": lambda layers: _geometry(layers, grows=0),
    "you count each layer's reach in cells of its input; each of them is `step` pixels wide": (
        lambda layers: _geometry(layers, steps=False)
    ),
    "step is the product of the strides; you add them": _added_strides,
    "you leave out the padding, which moves the first cell to the left": (
        lambda layers: _geometry(layers, pads=0)
    ),
    "padding moves the first cell to the left; you move it to the right": (
        lambda layers: _geometry(layers, pads=-1)
    ),
    "padding is counted in cells of the layer's input, and each of them is `step` pixels wide": (
        lambda layers: _geometry(layers, padding_steps=False)
    ),
    "the first pixel reaches from 0 to 1, so that its centre lies at 0.5; you begin at 0": (
        lambda layers: _geometry(layers, origin=0.0)
    ),
    "you begin at 1; the first pixel reaches from 0 to 1, so that its centre lies at 0.5": (
        lambda layers: _geometry(layers, origin=1.0)
    ),
    "you round half of k - 1 down, and with an even kernel it is no whole number": (
        lambda layers: _geometry(layers, down=True)
    ),
    "this is where the first field begins; its centre was asked": _left_edge,
    "`first` is half a step, as if cells lay side by side from the edge of the picture on": (
        _drawn_centre
    ),
}

GEOMETRY = Task(
    key="2.2",
    function="cell_geometry",
    points=8,
    section="04_network_surgery#Resolution has a price",
    draw=_telling(_draw_geometry, _geometry, _GEOMETRY_SLIPS, 1e-3, True),
    reference=_geometry,
    slips=_GEOMETRY_SLIPS,
    tolerance=1e-3,
    absolute=True,
    instances=8,
)


# 2.3 ----------------------------------------------------------------------------------------


def _block_shapes(name: str, inputs: int, outputs: int, kernel: int) -> dict[str, list[int]]:
    return {
        f"{name}.conv.weight": [outputs, inputs, kernel, kernel],
        f"{name}.norm.weight": [outputs],
        f"{name}.norm.bias": [outputs],
        f"{name}.norm.running_mean": [outputs],
        f"{name}.norm.running_var": [outputs],
        f"{name}.norm.num_batches_tracked": [],
    }


def _draw_shapes(rng: Generator) -> tuple[Any, ...]:
    """The state of a network and of its GAP form, whose last layer has the old one's name."""
    kept: dict[str, list[int]] = {}
    channels = 3
    for i in range(int(rng.integers(2, 5))):
        width = int(rng.integers(8, 40))
        kept |= _block_shapes(f"features.conv{i + 1}", channels, width, int(rng.choice([3, 5, 7])))
        channels = width
    units, classes = (int(n) for n in rng.integers(20, 90, size=2))
    flat = channels * int(rng.integers(2, 6)) ** 2
    head = {"head.fc1.weight": [units, flat], "head.fc1.bias": [units]}
    if rng.random() < 0.5:
        extra = {"head.fc1.running_mean": [units], "head.fc1.num_batches_tracked": []}
        head = {"head.fc1.weight": [units, flat]} | extra
    before = kept | head | {"head.last.weight": [classes, units], "head.last.bias": [classes]}
    k = int(rng.integers(20, 200))
    more = int(rng.choice([0, 0, 3]))  # other classes: then the last bias is new as well
    after = dict(kept)
    after |= {"features.cam.weight": [k, channels, 3, 3], "features.cam.bias": [k]}
    after |= {"head.last.weight": [classes + more, k], "head.last.bias": [classes + more]}
    return before, after


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _numbers(
    shapes: dict[str, list[int]],
    buffers: tuple[str, ...] = _BUFFERS,
    leaves: tuple[str, ...] | None = None,
) -> int:
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if name.rpartition(".")[2] not in buffers and (leaves is None or name.endswith(leaves))
    )


def _counted(
    before: dict[str, list[int]], after: dict[str, list[int]], **other: Any
) -> dict[str, float]:
    new = {name: shape for name, shape in after.items() if before.get(name) != shape}
    one, two = _numbers(before, **other), _numbers(after, **other)
    return {"before": one, "after": two, "new": _numbers(new, **other), "saved": 1 - two / one}


def _with_saved(value: Callable[[float, float], float]) -> Way:
    def way(before: dict[str, list[int]], after: dict[str, list[int]]) -> dict[str, float]:
        right = _counted(before, after)
        return right | {"saved": value(right["before"], right["after"])}

    return way


def _with_new(value: Callable[..., float]) -> Way:
    def way(before: dict[str, list[int]], after: dict[str, list[int]]) -> dict[str, float]:
        return _counted(before, after) | {"new": value(before, after)}

    return way


_COUNT_SLIPS: dict[str, Way] = {
    "running statistics and the counter of batch norm are no parameters: no gradient moves them": (
        lambda before, after: _counted(before, after, buffers=())
    ),
    "num_batches_tracked is a counter of batch norm and no parameter": (
        lambda before, after: _counted(before, after, buffers=_BUFFERS[:2])
    ),
    "running means and variances of batch norm are no parameters": (
        lambda before, after: _counted(before, after, buffers=_BUFFERS[2:])
    ),
    "you leave out the biases": (lambda before, after: _counted(before, after, leaves=("weight",))),
    "you count tensors; how many numbers they hold was asked": (
        lambda before, after: (
            _counted(
                *({name: [1] for name in s if not name.endswith(_BUFFERS)} for s in (before, after))
            )
            | {"new": sum(before.get(n) != s for n, s in after.items())}
        )
    ),
    "the share is of the parameters before the cut, not of those after it": (
        _with_saved(lambda one, two: one / two - 1)
    ),
    "this is the share that is left; the share that is saved was asked": (
        _with_saved(lambda one, two: two / one)
    ),
    "`saved` has the wrong sign: it is positive where there are fewer parameters after the cut": (
        _with_saved(lambda one, two: two / one - 1)
    ),
    "`saved` is in percent; a share of 1 was asked": (
        _with_saved(lambda one, two: 100 - 100 * two / one)
    ),
    "`saved` is the number of parameters; their share was asked": (
        _with_saved(lambda one, two: one - two)
    ),
    "a tensor that has an old name but another shape is new as well": (
        _with_new(lambda b, a: _numbers({n: s for n, s in a.items() if n not in b}))
    ),
    "these are the parameters that were kept; the new ones were asked": (
        _with_new(lambda b, a: _numbers({n: s for n, s in a.items() if b.get(n) == s}))
    ),
    "new parameters are counted with the running statistics of the layers that stay": (
        _with_new(
            lambda b, a: _numbers(a, ()) - _numbers({n: s for n, s in a.items() if b.get(n) == s})
        )
    ),
}

COUNT = Task(
    key="2.3",
    function="count_saved",
    points=6,
    section="04_network_surgery#All of them",
    draw=_telling(_draw_shapes, _counted, _COUNT_SLIPS),
    reference=_counted,
    slips=_COUNT_SLIPS,
    instances=6,
)


# 2.4 ----------------------------------------------------------------------------------------

# Of ZFNet in `handout.py`: kernel, stride, padding of each convolution; poolings after some.
_CONVOLUTIONS = {1: (7, 2, 1), 2: (5, 1, 0), 3: (3, 1, 1), 4: (3, 1, 1), 5: (3, 1, 1)}
_POOLED = (1, 2, 5)
_LAYERS = tuple(
    name
    for i in _CONVOLUTIONS
    for name in ((f"conv{i}", f"pool{i}") if i in _POOLED else (f"conv{i}",))
)


def _norm(rng: Generator, name: str, width: int) -> dict[str, Array]:
    """Parameters and statistics of a batch norm, none of them what it begins with."""
    drawn = {
        "weight": rng.uniform(0.5, 1.5, size=width),
        "bias": rng.normal(0.2, 0.4, size=width),
        "running_mean": rng.normal(0.0, 0.5, size=width),
        "running_var": rng.uniform(0.4, 2.0, size=width),
    }
    return {f"{name}.{part}": value.astype(np.float32) for part, value in drawn.items()}


def _draw_operation(rng: Generator) -> tuple[Any, ...]:
    widths = [int(width) for width in rng.permutation(np.arange(4, 11))[:5]]
    fc, classes, units, new_classes = (int(n) for n in rng.permutation(np.arange(3, 14))[:4])
    height, width = (int(n) for n in rng.permutation([43, 51, 59, 67])[:2])
    state: dict[str, Array] = {}
    channels = 3
    sides = [height, width]
    for i, (kernel, stride, padding) in _CONVOLUTIONS.items():
        shape = (widths[i - 1], channels, kernel, kernel)
        weight = rng.normal(size=shape) * (2 / math.prod(shape[1:])) ** 0.5
        state[f"features.conv{i}.conv.weight"] = weight.astype(np.float32)
        state |= _norm(rng, f"features.conv{i}.norm", widths[i - 1])
        windows = [{"kernel": kernel, "stride": stride, "padding": padding, "ceil": False}]
        if i in _POOLED:
            windows.append({"kernel": 3, "stride": 2, "padding": 0, "ceil": True})
        sides = [_sides(windows, side)[-1] for side in sides]
        channels = widths[i - 1]
    numbers = channels * math.prod(sides)
    for name in ("fc6", "fc7"):
        weight = rng.normal(size=(fc, numbers)) * (2 / numbers) ** 0.5
        state[f"head.{name}.linear.weight"] = weight.astype(np.float32)
        state |= _norm(rng, f"head.{name}.norm", fc)
        numbers = fc
    state["head.fc8.weight"] = rng.normal(size=(classes, fc)).astype(np.float32)
    state["head.fc8.bias"] = rng.normal(size=classes).astype(np.float32)

    cut = int(rng.choice([2, 3, 4, 5, 5]))
    inputs = widths[cut - 1]
    new = {
        "convolution.weight": rng.normal(size=(units, inputs, 3, 3)) / (9 * inputs) ** 0.5,
        "convolution.bias": rng.normal(0.0, 0.3, size=units),
        "linear.weight": rng.normal(size=(new_classes, units)),
        "linear.bias": rng.normal(size=new_classes),
    }
    # Whole numbers, which take little room in the file of the visible checks.
    images = rng.integers(-2, 3, size=(2, 3, height, width)).astype(np.float32)
    others = rng.integers(-2, 3, size=(1, 3, width + 10, height + 17)).astype(np.float32)
    weights = {name: value.astype(np.float32) for name, value in new.items()}
    return state, f"conv{cut}", units, new_classes, weights, images, others


def _normed(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    parts = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (state[f"{name}.{part}"] for part in parts)
    return functional.batch_norm(x, mean, variance, weight, bias)


def _trunk(
    state: Mapping[str, Tensor], images: Tensor, last: str, *, norm: bool = True, relu: bool = True
) -> Tensor:
    """The layers up to and with `last`; without batch norm throughout, or without its ReLU."""
    x = images
    for layer in _LAYERS[: _LAYERS.index(last) + 1]:
        if layer.startswith("pool"):
            x = functional.max_pool2d(x, 3, 2, ceil_mode=True)
            continue
        _, stride, padding = _CONVOLUTIONS[int(layer[-1])]
        weight = state[f"features.{layer}.conv.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=padding)
        x = _normed(x, state, f"features.{layer}.norm") if norm else x
        x = x.relu() if relu or layer != last else x
    return x


def _original(state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    x = _trunk(state, images, "pool5").flatten(1)
    for name in ("fc6", "fc7"):
        x = _normed(x @ state[f"head.{name}.linear.weight"].T, state, f"head.{name}.norm").relu()
    return x @ state["head.fc8.weight"].T + state["head.fc8.bias"]


def _operation(
    state: dict[str, Tensor],
    cut: str,
    units: int,
    num_classes: int,
    new: dict[str, Tensor],
    images: Tensor,
    others: Tensor,
    *,
    shift: int = 0,
    norm: bool = True,
    trunk_relu: bool = True,
    relu: bool = True,
    padding: int = 1,
    pool: Callable[[Tensor], Tensor] = lambda x: x.mean(dim=(2, 3)),
    finish: Callable[[Tensor], Tensor] = lambda scores: scores,
    shared: bool = False,
    frozen: bool = False,
    more: int = 0,
) -> dict[str, Any]:
    last = _LAYERS[_LAYERS.index(cut) + shift]

    def head(x: Tensor) -> Tensor:
        return finish(pool(x) @ new["linear.weight"].T + new["linear.bias"])

    def features(x: Tensor) -> Tensor:
        x = _trunk(state, x, last, norm=norm, relu=trunk_relu)
        x = functional.conv2d(x, new["convolution.weight"], new["convolution.bias"], 1, padding)
        return x.relu() if relu else x

    kept = [f"features.{name}." for name in _LAYERS[: _LAYERS.index(last) + 1]]
    of_trunk = {n: t for n, t in state.items() if n.startswith(tuple(kept))}
    parts = () if norm else ("norm.weight", "norm.bias")
    trunk_numbers = sum(
        t.numel() for n, t in of_trunk.items() if not n.endswith((*_BUFFERS, *parts))
    )
    numbers = sum(t.numel() for t in new.values()) + (0 if frozen else trunk_numbers)
    after = {n: t + 1 if shared and n in of_trunk else t for n, t in state.items()}
    x = features(images)
    return {
        "map": x,
        "scores": head(x),
        "scores of twice the map": head(2 * x),
        "scores of another size": head(features(others)),
        "weights of the classes": new["linear.weight"],
        "parameters that train": numbers + more * units,
        "scores of the original afterwards": _original(after, images),
    }


def _operated(**other: Any) -> Way:
    return lambda *arguments: _operation(*arguments, **other)


def _one_layer(shift: int) -> Way:
    """The cut one layer too late or too early, where the new convolution fits there."""

    def way(state: dict[str, Tensor], cut: str, *others: Any) -> dict[str, Any]:
        last = _LAYERS[_LAYERS.index(cut) + shift]
        channels = [len(state[f"features.conv{name[-1]}.conv.weight"]) for name in (cut, last)]
        if channels[0] != channels[1]:
            raise ValueError("the new convolution does not fit there")
        return _operation(state, cut, *others, shift=shift)

    return way


_OPERATION_SLIPS: dict[str, Way] = {
    "the ReLU after the new convolution is missing": _operated(relu=False),
    "the pooling takes the maximum; GAP is the average": _operated(
        pool=lambda x: x.amax(dim=(2, 3))
    ),
    "the pooling adds the places up; GAP divides by their number": _operated(
        pool=lambda x: x.sum(dim=(2, 3))
    ),
    "the new convolution has no padding, so that its map is smaller than the one it is given": (
        _operated(padding=0)
    ),
    "the network ends in softmax; scores were asked": _operated(
        finish=lambda scores: scores.softmax(dim=1)
    ),
    "there is a ReLU after the linear layer, which cuts off negative scores": _operated(
        finish=lambda scores: scores.relu()
    ),
    "the pooling after the layer of the cut is kept": _one_layer(1),
    "the ReLU of the last layer that stays is lost": _operated(trunk_relu=False),
    "the batch norm of the layers that stay is lost": _operated(norm=False),
    "the kept layers are the original's own, so that training one network changes the other": (
        _operated(shared=True)
    ),
    "the kept layers are frozen; all of the GAP form is to be trained": _operated(frozen=True),
    "the new convolution has batch norm; none was asked": _operated(more=2),
}


def _draw_telling_operation(rng: Generator) -> tuple[Any, ...]:
    """Scores of both signs, and in which the ReLUs, the average and all kept layers matter."""
    slips = {
        sentence: slip
        for sentence, slip in _OPERATION_SLIPS.items()
        if "pooling after" not in sentence  # of conv3 and conv4 there is none
    }
    return _telling(_draw_operation, _operation, slips)(rng)


OPERATION = Task(
    key="2.4",
    function="gap_form",
    points=10,
    section="04_network_surgery#The surgery, by hand",
    draw=_draw_telling_operation,
    reference=_operation,
    slips=_OPERATION_SLIPS,
    adapter="operate",
    tolerance=1e-3,
    instances=8,
)


# 2.5 ----------------------------------------------------------------------------------------


def _draw_rates(rng: Generator) -> tuple[Any, ...]:
    """Shapes of a GAP form and its original: names that begin alike, and new tensors anywhere."""
    a, b, c, d, k, n = (int(size) for size in rng.permutation(np.arange(2, 12))[:6])
    kept = {
        "features.conv1.conv.weight": [a, 3, 3, 3],
        "features.conv1.norm.weight": [a],
        "features.conv1.norm.bias": [a],
        "features.conv2.conv.weight": [b, a, 3, 3],
        "features.conv2.conv.bias": [b],
        "head.norm.weight": [b],  # a kept layer need not lie in the trunk
        "head.norm.bias": [b],
    }
    original = kept | {
        "features.conv3.conv.weight": [c, b, 3, 3],
        "head.fc1.weight": [k, 4 * c],
        "head.fc1.bias": [k],  # of the shape of a new one
        "head.fc2.weight": [d, k],
        "head.fc2.bias": [d],
        "head.last.weight": [n, d],
        "head.last.bias": [n],
    }
    more = int(rng.choice([0, 5]))  # with 0 the last bias has its old shape, and is kept
    new = {
        "features.conv11.weight": [k, b, 3, 3],
        "features.conv11.bias": [k],
        "head.last.weight": [n + more, k],
        "head.last.bias": [n + more],
    }
    both = list((kept | new).items())
    order = rng.permutation(len(both))
    rate = float(rng.choice([0.02, 0.05, 0.1, 0.3]))
    share = float(rng.choice([0.03, 0.1, 0.2, 0.25]))
    return {both[i][0]: both[i][1] for i in order}, original, rate, share


def _rates(
    form: dict[str, list[int]],
    original: dict[str, list[int]],
    rate: float,
    share: float,
    *,
    is_new: Callable[[str, list[int], dict[str, list[int]]], bool] | None = None,
    of_kept: Callable[[float, float], float] = lambda rate, share: rate * share,
    of_new: Callable[[float, float], float] = lambda rate, share: rate,
    only: str = "",
) -> dict[str, float]:
    new = is_new or (lambda name, shape, old: old.get(name) != shape)
    return {
        name: (of_new if new(name, shape, original) else of_kept)(rate, share)
        if name.endswith(only)
        else 0.0
        for name, shape in form.items()
    }


def _rated(**other: Any) -> Way:
    return lambda *arguments: _rates(*arguments, **other)


def _begins_alike(name: str, shape: list[int], old: dict[str, list[int]]) -> bool:
    return not any(name.startswith(one.split(".conv.")[0].split(".weight")[0]) for one in old)


_RATES_SLIPS: dict[str, Way] = {
    "all parameters have the same rate": _rated(of_kept=lambda rate, share: rate),
    "old and new are swapped: the new layers have everything to learn": _rated(
        of_kept=lambda rate, share: rate, of_new=lambda rate, share: rate * share
    ),
    "the share is a factor of `rate`, not a rate": _rated(of_kept=lambda rate, share: share),
    "you divide by the share; the old layers are to learn more slowly": _rated(
        of_kept=lambda rate, share: rate / share
    ),
    "the old layers are left out; they learn as well, at their own rate": _rated(
        of_kept=lambda rate, share: 0.0
    ),
    "the new layers are left out": _rated(of_new=lambda rate, share: 0.0),
    "you go by where a layer stands; the new convolution is among the features, and kept layers "
    "may be in the head": _rated(is_new=lambda name, shape, old: name.startswith("head.")),
    "you go by names alone; an old name with another shape is a new parameter": _rated(
        is_new=lambda name, shape, old: name not in old
    ),
    "you go by shapes alone; a new parameter may have the shape of an old one": _rated(
        is_new=lambda name, shape, old: shape not in old.values()
    ),
    "only weights are in your groups; biases and batch norm learn as well": _rated(only="weight"),
    "a name that begins like an old one is taken for old": _rated(is_new=_begins_alike),
}

RATES = Task(
    key="2.5",
    function="rate_groups",
    points=6,
    section="05_fine_tuning#Was the trained trunk needed? Was training it further?",
    draw=_telling(_draw_rates, _rates, _RATES_SLIPS),
    reference=_rates,
    slips=_RATES_SLIPS,
    adapter="rates_used",
    instances=6,
)


# 2.6 ----------------------------------------------------------------------------------------


def _draw_runs(rng: Generator) -> tuple[Any, ...]:
    """Errors of recipes and epochs; the lowest on validation is reached twice."""
    recipes, epochs = (int(n) for n in rng.permutation(np.arange(3, 8))[:2])
    pictures, others = 200, 250
    trend = 16 / (1 + np.arange(epochs))
    level = rng.uniform(20, 30, size=(recipes, 1)) + trend
    valid = 2 * np.round(level + rng.uniform(-8, 8, size=(recipes, epochs)))
    test = 2 * np.round(1.25 * (level + 2 + rng.uniform(-8, 8, size=(recipes, epochs))))
    r1, r2 = sorted(int(r) for r in rng.permutation(recipes)[:2])
    e2, e1 = sorted(int(e) for e in rng.permutation(epochs - 1)[:2])
    valid[r1, e1] = valid[r2, e2] = valid.min() - 2  # the row above is later
    return valid / pictures, test / others


def _run(valid: Tensor, test: Tensor, recipe: int, epoch: int) -> dict[str, float]:
    return {
        "recipe": recipe,
        "epoch": epoch + 1,
        "valid": valid[recipe, epoch].item(),
        "test": test[recipe, epoch].item(),
    }


def _chosen(valid: Tensor, test: Tensor) -> dict[str, float]:
    epoch, recipe = divmod(int(valid.T.flatten().argmin()), len(valid))
    return _run(valid, test, recipe, epoch)


def _chosen_on(errors: Callable[[Tensor, Tensor], Tensor]) -> Way:
    """By the first of the lowest, epoch by epoch, of other numbers."""

    def way(valid: Tensor, test: Tensor) -> dict[str, float]:
        epoch, recipe = divmod(int(errors(valid, test).T.flatten().argmin()), len(valid))
        return _run(valid, test, recipe, epoch)

    return way


def _first_row(valid: Tensor, test: Tensor) -> dict[str, float]:
    return _run(valid, test, *divmod(int(valid.flatten().argmin()), valid.shape[1]))


def _last_epoch(valid: Tensor, test: Tensor) -> dict[str, float]:
    return _run(valid, test, int(valid[:, -1].argmin()), valid.shape[1] - 1)


def _best_on_average(valid: Tensor, test: Tensor) -> dict[str, float]:
    recipe = int(valid.mean(dim=1).argmin())
    return _run(valid, test, recipe, int(valid[recipe].argmin()))


_CHOICE_SLIPS: dict[str, Way] = {
    "you choose by the test error; the test pictures may have no say": (
        _chosen_on(lambda valid, test: test)
    ),
    "you choose by validation and test together; the test pictures may have no say": (
        _chosen_on(lambda valid, test: valid + test)
    ),
    "of equal ones the earliest epoch was asked; you take the first row": _first_row,
    "you look at the last epoch alone": _last_epoch,
    "epochs are counted from 1": lambda v, t: _chosen(v, t) | {"epoch": _chosen(v, t)["epoch"] - 1},
    "recipes are counted from 0": (
        lambda v, t: _chosen(v, t) | {"recipe": _chosen(v, t)["recipe"] + 1}
    ),
    "you report the lowest of all test errors; that of the chosen run was asked": (
        lambda v, t: _chosen(v, t) | {"test": t.min().item()}
    ),
    "you report the lowest test error of the chosen recipe; that of the chosen epoch was asked": (
        lambda v, t: _chosen(v, t) | {"test": t[int(_chosen(v, t)["recipe"])].min().item()}
    ),
    "you report the validation error as that on the test pictures": (
        lambda v, t: _chosen(v, t) | {"test": _chosen(v, t)["valid"]}
    ),
    "you take the largest error, as if these were shares of right answers": (
        _chosen_on(lambda valid, test: -valid)
    ),
    "you choose the recipe by its mean over the epochs; one epoch of one recipe was asked": (
        _best_on_average
    ),
    "recipe and epoch are swapped": (
        lambda v, t: (
            _chosen(v, t)
            | {"recipe": int(_chosen(v, t)["epoch"]) - 1, "epoch": _chosen(v, t)["recipe"] + 1}
        )
    ),
}

CHOICE = Task(
    key="2.6",
    function="chosen_run",
    points=6,
    section="05_fine_tuning#Table 1 of the lab",
    draw=_telling(_draw_runs, _chosen, _CHOICE_SLIPS),
    reference=_chosen,
    slips=_CHOICE_SLIPS,
    instances=6,
)


# 2.7 ----------------------------------------------------------------------------------------


def _draw_map(rng: Generator) -> tuple[Any, ...]:
    h, w = (int(n) for n in rng.permutation(np.arange(3, 8))[:2])
    step = float(rng.choice([2.0, 2.5, 3.0, 4.0, 5.5]))
    first = float(rng.choice([0.3, 0.8, 1.1, 1.6, 2.1]) * step + rng.choice([0.0, 0.25, 0.5]))
    size = [int(step * n + rng.uniform(2, 3 * step)) for n in (h, w)]
    heatmap = rng.normal(0.4, 1.0, size=(h, w)).astype(np.float32)
    return heatmap, first, step, size


def _along(
    heatmap: Tensor, first: float, step: float, size: int, *, offset: float = 0.5, clip: bool = True
) -> Tensor:
    """Rows of pixels between rows of cells, (size, W) from (H, W)."""
    at = (torch.arange(size, dtype=torch.float64) + offset - first) / step
    if clip:
        at = at.clamp(0, len(heatmap) - 1)
    low = at.floor().clamp(0, len(heatmap) - 2)
    part = (at - low)[:, None]
    rows = low.long()
    return (1 - part) * heatmap[rows] + part * heatmap[rows + 1]


def _placed(heatmap: Tensor, first: float, step: float, size: list[int], **other: Any) -> Tensor:
    rows = _along(heatmap.double(), first, step, size[0], **other)
    return _along(rows.T, first, step, size[1], **other).T


def _nearest(heatmap: Tensor, first: float, step: float, size: list[int]) -> Tensor:
    rows, columns = (
        ((torch.arange(n, dtype=torch.float64) + 0.5 - first) / step).round().clamp(0, cells - 1)
        for n, cells in zip(size, heatmap.shape, strict=True)
    )
    return heatmap[rows.long()][:, columns.long()]


def _outside_zero(heatmap: Tensor, first: float, step: float, size: list[int]) -> Tensor:
    """Falls off to zero within one step beyond the outermost centres."""
    around = functional.pad(heatmap, (1, 1, 1, 1))
    return _placed(around, first - step, step, size)


def _outside_nothing(heatmap: Tensor, first: float, step: float, size: list[int]) -> Tensor:
    inside = [
        ((torch.arange(n) + 0.5 >= first) & (torch.arange(n) + 0.5 <= first + step * (cells - 1)))
        for n, cells in zip(size, heatmap.shape, strict=True)
    ]
    return _placed(heatmap, first, step, size) * (inside[0][:, None] & inside[1][None])


def _stretched(heatmap: Tensor, size: list[int], corners: bool = False) -> Tensor:
    found: Tensor = functional.interpolate(
        heatmap[None, None], size=tuple(size), mode="bilinear", align_corners=corners
    )[0, 0]
    return found


def _from_the_corner(heatmap: Tensor, first: float, step: float, size: list[int]) -> Tensor:
    return _placed(heatmap, step / 2, step, size)


_MAP_SLIPS: dict[str, Way] = {
    "you stretch the map over the image; its cells are not spread evenly over it": (
        lambda m, first, step, size: _stretched(m, size)
    ),
    "you stretch the map from corner to corner; its outer cells do not lie in the corners": (
        lambda m, first, step, size: _stretched(m, size, corners=True)
    ),
    "the cells have the right distance, but the first is not put where its centre lies": (
        _from_the_corner
    ),
    "pixel p has its centre at p + 0.5": lambda *a: _placed(*a, offset=0.0),
    "each pixel has the value of the nearest cell; between cells it was to be bilinear": _nearest,
    "beyond the outermost centres your values go on rising or falling; they are to stay": (
        lambda *a: _placed(*a, clip=False)
    ),
    "beyond the outermost centres your values fall to zero; they are to stay": _outside_zero,
    "beyond the outermost centres your map is zero; it is to keep the outermost value": (
        _outside_nothing
    ),
    "the sign of `first` is wrong: the map moves to the other side": (
        lambda m, first, step, size: _placed(m, -first, step, size)
    ),
    "height and width are swapped": lambda m, f, s, size: _placed(m.T, f, s, size),
    "the axes of your answer are swapped": lambda *a: _placed(*a).T,
    "negative values are cut off; a map has both signs": lambda *a: _placed(*a).clamp(min=0),
    "your map is scaled to its maximum; its values were to stay": (
        lambda *a: _placed(*a) / _placed(*a).max()
    ),
}

PLACE = Task(
    key="2.7",
    function="place_map",
    points=8,
    section="04_network_surgery#Does the wrong drawing show?",
    draw=_telling(_draw_map, _placed, _MAP_SLIPS),
    reference=_placed,
    slips=_MAP_SLIPS,
    instances=6,
)


# 2.8 ----------------------------------------------------------------------------------------


def _draw_scores(rng: Generator) -> tuple[Any, ...]:
    """Scores in halves, so that some are equal, for more pictures than classes."""
    classes = int(rng.integers(7, 13))
    number = int(rng.integers(16, 30))
    scores = np.round(2 * rng.normal(0.0, 1.2, size=(number, classes))) / 2
    labels = rng.integers(0, classes, size=number)
    lead = rng.random(number) < 0.4  # of a network that knows something
    scores[np.arange(number), labels] += 1.5 * lead
    return scores.astype(np.float32), labels.astype(np.int64)


def _ranks(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(1, labels[:, None])
    return (logits >= own).sum(dim=1)


def _first_of_equals(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits > logits.gather(1, labels[:, None])).sum(dim=1) + 1


def _in_order(logits: Tensor, labels: Tensor) -> Tensor:
    """Equal scores in the order of the classes."""
    order = logits.argsort(dim=1, descending=True, stable=True)
    return (order == labels[:, None]).int().argmax(dim=1) + 1


_RANKS_SLIPS: dict[str, Way] = {
    "of equal scores the true class is counted first; it was to be last": _first_of_equals,
    "the order of the classes decides between equal scores; the true class was to be last": (
        _in_order
    ),
    "the highest score has rank 1; you count from 0": lambda s, y: _ranks(s, y) - 1,
    "you count from the lowest score up": (lambda s, y: (s <= s.gather(1, y[:, None])).sum(dim=1)),
    "argsort says which class has a rank, not which rank a class has": (
        lambda s, y: s.argsort(dim=1, descending=True, stable=True).gather(1, y[:, None])[:, 0] + 1
    ),
    "these are top-1 errors, 0 or 1; a rank was asked": (lambda s, y: (_ranks(s, y) > 1).long()),
    "this is the mean over the pictures; a rank for each was asked": (
        lambda s, y: _ranks(s, y).double().mean()
    ),
    "this is the rank of the picture among the pictures, not of the class among the classes": (
        lambda s, y: (s.gather(1, y[:, None]) <= s[:, y].T).sum(dim=1)
    ),
    "you compare with the highest score and not with that of the true class": (
        lambda s, y: (s >= s.amax(dim=1, keepdim=True)).sum(dim=1)
    ),
    "you leave out the score of the true class itself": (
        lambda s, y: (_ranks(s, y) - 1).clamp(min=1)
    ),
    "these are the true scores; their ranks were asked": (
        lambda s, y: s.gather(1, y[:, None])[:, 0]
    ),
}

RANKS = Task(
    key="2.8",
    function="true_ranks",
    points=4,
    section="05_fine_tuning#What does the cut cost?",
    draw=_telling(_draw_scores, _ranks, _RANKS_SLIPS),
    reference=_ranks,
    slips=_RANKS_SLIPS,
    instances=6,
)


# 2.9 ----------------------------------------------------------------------------------------


def _draw_errors(rng: Generator) -> tuple[Any, ...]:
    """Which pictures two networks miss: what is hard for one tends to be hard for the other."""
    number = int(rng.integers(60, 150))
    hard = rng.beta(0.4, 0.9, size=number)
    shift = float(rng.choice([-0.16, -0.08, 0.0, 0.08, 0.16]))
    before = rng.random(number) < hard.clip(0.02, 0.98)
    again = rng.random(number) < 0.55
    after = np.where(again, before, rng.random(number) < (hard + shift).clip(0.02, 0.98))
    return before.astype(np.float64), after.astype(np.float64)


def _judged(mean: float, half: float) -> dict[str, Any]:
    low, high = mean - half, mean + half
    verdict = "seen" if low > 0 else "opposite" if high < 0 else "unclear"
    return {"points": mean, "low": low, "high": high, "verdict": verdict}


def _price(
    before: Tensor,
    after: Tensor,
    *,
    factor: float = 1.96,
    unit: float = 100.0,
    sign: int = 1,
    paired: bool = True,
    correction: int = 1,
    root: bool = True,
) -> dict[str, Any]:
    d = sign * (after - before)
    n = len(d)
    variance = d.var(correction=correction)
    if not paired:
        variance = before.var(correction=correction) + after.var(correction=correction)
    half = factor * variance.item() ** 0.5 / (n**0.5 if root else 1)
    return _judged(unit * d.mean().item(), unit * half)


def _priced(**other: Any) -> Way:
    return lambda before, after: _price(before, after, **other)


def _by_the_mean(before: Tensor, after: Tensor) -> dict[str, Any]:
    right = _price(before, after)
    return right | {"verdict": "seen" if right["points"] > 0 else "opposite"}


def _verdicts_swapped(before: Tensor, after: Tensor) -> dict[str, Any]:
    right = _price(before, after)
    other = {"seen": "opposite", "opposite": "seen", "unclear": "unclear"}
    return right | {"verdict": other[right["verdict"]]}


def _relative(before: Tensor, after: Tensor) -> dict[str, Any]:
    right, share = _price(before, after), max(before.mean().item(), 1e-9)
    return right | {key: right[key] / share for key in ("points", "low", "high")}


_PRICE_SLIPS: dict[str, Way] = {
    "the sign is wrong: the price is the error after the cut minus the error before it": (
        _priced(sign=-1)
    ),
    "these are shares; points, of 100, were asked": _priced(unit=1.0),
    "you treat the two networks as if each had pictures of its own; take differences first": (
        _priced(paired=False)
    ),
    "this interval is one standard error to each side; 1.96 of them make 95 %": (
        _priced(factor=1.0)
    ),
    "1.645 is for 90 % of both sides together; 1.96 is for 95 %": _priced(factor=1.645),
    "you divide the squares by n; the formula has n - 1": _priced(correction=0),
    "this is the spread of single pictures; that of their mean is smaller by the root of n": (
        _priced(root=False)
    ),
    "the verdict goes by the mean; it has to go by the interval": _by_the_mean,
    '"seen" and "opposite" are swapped': _verdicts_swapped,
    "this is the difference as a share of the error before; points were asked": _relative,
}


def _draw_clear_errors(rng: Generator) -> tuple[Any, ...]:
    """No end of the interval near zero, and any verdict as likely as the others."""
    wanted = rng.choice(["seen", "opposite", "unclear"])
    pairwise = {
        sentence: slip
        for sentence, slip in _PRICE_SLIPS.items()
        if slip not in (_by_the_mean, _verdicts_swapped)
    }
    while True:
        before, after = _telling(_draw_errors, _price, pairwise, 1e-3, True)(rng)
        found = _price(torch.from_numpy(before), torch.from_numpy(after))
        if found["verdict"] == wanted and min(abs(found["low"]), abs(found["high"])) > 0.1:
            return before, after


PRICE = Task(
    key="2.9",
    function="price_of_cut",
    points=7,
    section="05_fine_tuning#Table 1 of the lab",
    draw=_draw_clear_errors,
    reference=_price,
    slips=_PRICE_SLIPS,
    tolerance=1e-3,
    absolute=True,
    instances=8,
)


# 2.10 ---------------------------------------------------------------------------------------


def _draw_seeds(rng: Generator) -> tuple[Any, ...]:
    """Errors in percent of a few pairs of trainings; both of a pair share a part of the luck."""
    number = int(rng.integers(3, 9))
    luck = rng.normal(0, 2.5, size=number)
    before = 20 + luck + rng.normal(0, 1.2, size=number)
    after = 20 + luck + rng.uniform(-6, 6) + rng.normal(0, 1.2, size=number)
    return before, after


def _over_seeds(
    before: Tensor,
    after: Tensor,
    *,
    level: float = 0.975,
    lost: int = 1,
    student: bool = True,
    paired: bool = True,
    correction: int = 1,
    root: bool = True,
    next_one: bool = False,
    sign: int = 1,
) -> dict[str, float]:
    d = sign * (after - before)
    m = len(d)
    variance = d.var(correction=correction)
    if not paired:
        variance = before.var(correction=correction) + after.var(correction=correction)
    factor = float(stats.t.ppf(level, m - lost)) if student else 1.96
    over = 1 + 1 / m if next_one else 1 / m if root else 1.0
    half = factor * (variance.item() * over) ** 0.5
    mean = d.mean().item()
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _seeded(**other: Any) -> Way:
    return lambda before, after: _over_seeds(before, after, **other)


_SEEDS_SLIPS: dict[str, Way] = {
    "1.96 is for many trainings; for so few it is Student's t": _seeded(student=False),
    "Student's t is taken with m - 1 degrees of freedom": _seeded(lost=0),
    "m - 2 degrees of freedom are for two groups of their own; these are m differences": (
        _seeded(lost=2)
    ),
    "t is taken at 0.95; with 2.5 % on each side it is at 0.975": _seeded(level=0.95),
    "you treat the trainings as unpaired; take the difference seed by seed first": (
        _seeded(paired=False)
    ),
    "you divide the squares by m; the formula has m - 1": _seeded(correction=0),
    "this is the spread of single trainings; that of their mean is smaller by the root of m": (
        _seeded(root=False)
    ),
    "this is where one more training would lie; where the mean lies was asked": (
        _seeded(next_one=True)
    ),
    "the sign is wrong: the price is the error after the cut minus the error before it": (
        _seeded(sign=-1)
    ),
    "these are the lowest and the highest difference; an interval for the mean was asked": (
        lambda before, after: {
            "mean": (after - before).mean().item(),
            "low": (after - before).min().item(),
            "high": (after - before).max().item(),
        }
    ),
}

SEEDS = Task(
    key="2.10",
    function="price_over_seeds",
    points=5,
    section="08_average_or_maximum#Other trainings",
    draw=_telling(_draw_seeds, _over_seeds, _SEEDS_SLIPS, 1e-3, True),
    reference=_over_seeds,
    slips=_SEEDS_SLIPS,
    tolerance=1e-3,
    absolute=True,
    instances=6,
)


SET = ProblemSet(
    name="set2_surgery",
    title="Surgery",
    tasks=(SIDES, GEOMETRY, COUNT, OPERATION, RATES, CHOICE, PLACE, RANKS, PRICE, SEEDS),
    written={"2.11": 12, "2.12": 12, "2.13": 10},
)
