"""The figures of the explorers in notebooks, each a function of what its controls say.

All take a `Scene` or `Comparison` of `camlib.scenes` and are drawn in the book's style. They touch
nothing of pyplot's, so that none is left open.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from camlib import cam, plots
from camlib.scenes import Comparison, Head, Scene

FOR, AGAINST = "#0072B2", "#D55E00"
SMALL = 11  # points, for lists and thumbnails

# Inches. All is placed by hand: a layout engine takes longer than the rest of the drawing.
SIDE, RIGHT = 2.34, 2.46  # of a panel, two in a row; where the second begins
TITLE = 0.52  # two lines above a panel
BELOW = TITLE + SIDE + 0.1  # where a colour bar begins
BAR = 0.66  # a colour bar with its numbers and label


def written(value: float, digits: int = 2) -> str:
    """A number for readers, with a minus sign that is read as one."""
    text = f"{abs(value):.{digits}f}"
    return f"\u2212{text}" if value < 0 and float(text) else text


def percent(share: float) -> str:
    """A share in whole percent; below one, and above zero, "< 1 %"."""
    return "< 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def classes(scene: Scene, m: int, row: int, column: int) -> Figure:
    """The map of class m, and the value of every class's map at one place of it."""
    votes = scene.maps[:, row, column].tolist()
    high = 0.26 * len(votes)
    fig = _figure(BELOW + BAR + high + 0.65)
    view, ax = _pair(fig)
    plots.picture(view, scene.view, "image")
    colours = plots.overlay(ax, scene.view, scene.maps[m], scene.classes[m])
    for panel in (view, ax):
        _frame(panel, scene, row, column)
    _colour_bar(fig, colours, scene.maps[m])
    ax = _axes(fig, 1.8, BELOW + BAR + 0.1, 2.9, high)
    bars = ax.barh(range(len(votes)), votes, color=[FOR if v >= 0 else AGAINST for v in votes])
    ax.bar_label(bars, [written(vote, 1) for vote in votes], padding=3, fontsize=SMALL)
    ax.margins(x=0.2)
    ax.set_yticks(range(len(votes)), scene.classes, fontsize=SMALL)
    ax.get_yticklabels()[m].set_fontweight("bold")
    ax.invert_yaxis()
    ax.axvline(0, color="0.5", linewidth=1)
    ax.set_xlabel("map value in the frame")
    return fig


def channels(
    scene: Scene, m: int, added: Tensor, given: Tensor, strongest: Sequence[int]
) -> Figure:
    """The map of class m from the channels `added` and from all, and some channels alone.

    Args:
        added: indices of channels.
        given: what each channel gives to the score, (K,).
        strongest: ten channels, each drawn on its own scale under what it gives.
    """
    fig = _figure(BELOW + BAR + 2 * 1.17)
    partial = torch.einsum("k,kyx->yx", scene.weight[m, added], scene.features[added])
    maps = torch.stack([partial, scene.maps[m]])
    for ax, heatmap, title in zip(
        _pair(fig), maps, (f"{len(added)} channels", f"all {len(given)}"), strict=True
    ):
        colours = plots.overlay(ax, scene.view, heatmap, title, vmax=float(maps.max()))
    _colour_bar(fig, colours, maps)
    # Thumbnails on one pair of axes, in inches: ten pairs would take twice as long.
    ax = _axes(fig, 0, BELOW + BAR, plots.WIDTH, 2 * 1.17)
    ax.set_axis_off()
    for n, k in enumerate(strongest):
        left, top = 0.97 * (n % 5), 0.25 + 1.17 * (n // 5)
        place = left, left + 0.9, top + 0.9, top
        ax.imshow(scene.features[k].numpy(), cmap="magma", vmin=0, extent=place)
        sign = "+" if given[k] >= 0 else ""
        says = sign + written(float(given[k]))
        ax.text(left + 0.45, top - 0.05, says, fontsize=SMALL, ha="center")
    ax.set(xlim=(0, plots.WIDTH), ylim=(2 * 1.17, 0))
    return fig


def scales(scene: Scene, pair: Sequence[int], nearest: bool, kind: str) -> Figure:
    """The maps of two classes.

    Args:
        nearest: upsample by repeating cells; False: bilinear.
        kind: the colour scale: "own" and "shared" run from zero to the maximum of each map or of
            both; "signed" is one scale for both, symmetric about zero.
    """
    fig = _figure(BELOW + BAR)
    maps = scene.maps[list(pair)]
    tops = (maps.abs() if kind == "signed" else maps).amax(dim=(1, 2)).tolist()
    for n, (ax, m) in enumerate(zip(_pair(fig), pair, strict=True)):
        high = tops[n] if kind == "own" else max(tops)
        heatmap = _cells(scene.maps[m], scene.view) if nearest else scene.maps[m]
        if kind == "signed":
            colours = _signed_overlay(ax, scene.view, heatmap, scene.classes[m], high)
        else:
            colours = plots.overlay(ax, scene.view, heatmap, scene.classes[m], vmax=high)
        if kind == "own":
            _colour_bar(fig, colours, heatmap, (0, RIGHT)[n], SIDE)
    if kind != "own":
        _colour_bar(fig, colours, maps)
    return fig


def threshold(
    scene: Scene,
    m: int,
    found: Tensor,
    truth: Tensor,
    now: tuple[float, float | None],
    curve: Sequence[tuple[float, float]],
) -> Figure:
    """The map of class m with boxes, and the curve (share of the maximum, IoU).

    Args:
        found, truth: boxes (n, 4) in pixels of the view.
        now: the point of the curve that is chosen; its IoU is None where there is no truth.
    """
    fig = _figure(BELOW + 0.5)
    ax, plot = _axes(fig, 0, TITLE, SIDE, SIDE), _axes(fig, RIGHT + 0.4, TITLE, SIDE - 0.6, SIDE)
    plots.overlay(ax, scene.view, scene.maps[m], scene.classes[m])
    _draw_boxes(ax, found, truth)
    plot.set(xlim=(0, 100), ylim=(0, 1), xlabel="threshold (%)", title="IoU")
    plot.set_xticks([0, 50, 100])
    plot.set_yticks([0, 0.5, 1])
    plot.grid(axis="y", color="0.85")
    if now[1] is None:
        plot.text(50, 0.6, "no true box\nof this class", ha="center")
        return fig
    shares, overlaps = np.array(curve).T
    plot.plot(100 * shares, overlaps, linewidth=2)
    plot.plot(100 * now[0], now[1], "o", color="#56B4E9", mec="black", ms=9, clip_on=False)
    return fig


def methods(
    scene: Comparison, m: int, sides: Sequence[tuple[str, Tensor]], truth: Tensor
) -> Figure:
    """The maps of class m by two methods, each (name, boxes found) and on its own scale."""
    fig = _figure(BELOW + BAR)
    for ax, left, (method, found) in zip(_pair(fig), (0, RIGHT), sides, strict=True):
        heatmap = scene.maps[method][m]
        colours = plots.overlay(ax, scene.view, heatmap, method)
        _draw_boxes(ax, found, truth)
        _colour_bar(fig, colours, heatmap, left, SIDE)
    return fig


def identity(
    scene: Scene, head: Head, off: Tensor, place: tuple[int, int], lines: Sequence[tuple[str, str]]
) -> Figure:
    """The cells of a head's map, those `off` (bool, (H, W)) black, and a sum line by line."""
    fig = _figure(BELOW + BAR + 0.15 + 0.28 * len(lines))
    view, ax = _pair(fig)
    plots.picture(view, scene.view, "image")
    cells = _cells(head.map * ~off, scene.view)
    colours = plots.overlay(ax, scene.view, cells, head.label, vmax=float(head.map.max()))
    _colour_bar(fig, colours, head.map)
    for row, column in off.nonzero().tolist():
        ax.add_patch(_square(scene, row, column, color="black"))
    _frame(ax, scene, *place)
    for n, (label, value) in enumerate(lines):
        at = 1 - (BELOW + BAR + 0.2 + 0.28 * n) / fig.get_figheight()
        fig.text(0.08, at, label, va="center")
        fig.text(0.92, at, value, va="center", ha="right")
    return fig


def your_photo(view: Image.Image, heatmap: Tensor, title: str, found: Tensor) -> Figure:
    """A picture as the network gets it, and a map of it with its box."""
    fig = _figure(BELOW + BAR)
    image, ax = _pair(fig)
    plots.picture(image, view, "image")
    colours = plots.overlay(ax, view, heatmap, title)
    _draw_boxes(ax, found, torch.zeros(0, 4))
    _colour_bar(fig, colours, heatmap)
    return fig


def _figure(height: float) -> Figure:
    return Figure(figsize=(plots.WIDTH, height), layout="none")  # type: ignore[arg-type]


def _axes(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by their upper left corner, all in inches."""
    w, h = fig.get_size_inches()
    return fig.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def _pair(fig: Figure) -> tuple[Axes, Axes]:
    return _axes(fig, 0, TITLE, SIDE, SIDE), _axes(fig, RIGHT, TITLE, SIDE, SIDE)


def _colour_bar(
    fig: Figure, colours: ScalarMappable, maps: Tensor, left: float = 0, width: float = plots.WIDTH
) -> None:
    """As `plots.colour_bar`, at a place of its own."""
    ax = _axes(fig, left + 0.2, BELOW, width - 0.4, 0.11)
    below = float(maps.min()) < colours.get_clim()[0]
    extend = "min" if below else "neither"
    fig.colorbar(colours, cax=ax, orientation="horizontal", label="map value", extend=extend)


def _cells(heatmap: Tensor, view: Image.Image) -> Tensor:
    """A map at the picture's size with each value as a square."""
    size = view.height, view.width
    larger: Tensor = functional.interpolate(heatmap[None, None], size, mode="nearest")[0, 0]
    return larger


def _signed_overlay(
    ax: Axes, image: Image.Image, heatmap: Tensor, title: str, limit: float
) -> ScalarMappable:
    """A map over its greyscale image from -limit to limit: orange below zero, purple above."""
    plots.picture(ax, ImageOps.grayscale(image), title)
    norm = Normalize(-limit, limit)
    values = cam.upsample(heatmap, (image.height, image.width)).numpy()
    ax.imshow(values, cmap="PuOr", alpha=0.65, norm=norm)
    return ScalarMappable(norm, "PuOr")


def _draw_boxes(ax: Axes, found: Tensor, truth: Tensor) -> None:
    for box in truth:
        plots.draw_box(ax, box, "truth")
    for box in found:
        plots.draw_box(ax, box)


def _frame(ax: Axes, scene: Scene, row: int, column: int) -> None:
    for color, width in (("black", 4), ("white", 2)):
        options = {"fill": False, "edgecolor": color, "linewidth": width}
        ax.add_patch(_square(scene, row, column, **options))


def _square(scene: Scene, row: int, column: int, **options: Any) -> Rectangle:
    """The part of the picture that a cell of the map stands for."""
    rows, columns = scene.features.shape[1:]
    high, wide = scene.view.height / rows, scene.view.width / columns
    return Rectangle((column * wide - 0.5, row * high - 0.5), wide, high, **options)
