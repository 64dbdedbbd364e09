"""The book's figures: image left, map right, one scale where panels are compared.

Functions that make a whole figure return it closed, so that a notebook cell that ends in the call
shows it once. Maps are drawn in magma over the greyscale picture: all colour belongs to the map.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps
from torch import Tensor

from camlib import cam

# A figure 4.8 inches wide is shrunk to about 3.65 on a phone: 13 points become 10.
WIDTH = 4.8
STYLE: Any = {
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "legend.fontsize": 12,
    "figure.dpi": 160,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "image.cmap": "magma",
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Okabe and Ito: told apart by readers with any colour vision.
    "axes.prop_cycle": cycler(
        color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
    ),
}


def use_book_style() -> None:
    """Set matplotlib's defaults to the book's, for the figures made from now on."""
    plt.rcParams.update(STYLE)


def figure(rows: int = 1, columns: int = 2, height: float | None = None) -> tuple[Figure, Any]:
    """An empty figure of the book's width and an array of its axes, (rows, columns).

    Args:
        height: in inches; without it the panels have room for square pictures and titles.

    The figure is closed for pyplot: end the cell with it to show it.
    """
    with plt.rc_context(STYLE):
        if height is None:
            height = rows * (WIDTH / columns + 0.35)
        fig, axes = plt.subplots(
            rows, columns, figsize=(WIDTH, height), squeeze=False, layout="compressed"
        )
        plt.close(fig)
    return fig, axes


def picture(ax: Axes, image: Image.Image, title: str = "") -> None:
    """An image without axes, its title wrapped to fit half the book's width."""
    ax.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255)
    ax.set_axis_off()
    ax.set_anchor("N")  # beside a panel with a colour bar, the tops stay level
    ax.set_title(textwrap.fill(title, 20))


def overlay(
    ax: Axes,
    image: Image.Image,
    heatmap: Tensor,
    title: str = "",
    *,
    vmin: float = 0.0,
    vmax: float | None = None,
) -> ScalarMappable:
    """A map over its greyscale image; what lies below `vmin` has the colour of `vmin`.

    Args:
        image: what the network saw (`network.transform.view`).
        heatmap: (H, W), at mapping resolution or image size; upsampled here.
        vmin, vmax: ends of the colour scale. Default: zero and the map's maximum.

    Returns:
        The colours, for a colour bar.
    """
    picture(ax, ImageOps.grayscale(image), title)
    if vmax is None:
        vmax = float(heatmap.max())
    values = cam.upsample(heatmap, (image.height, image.width)).numpy(force=True)
    # A map without a positive value gets a scale all the same, and so one colour.
    norm = Normalize(vmin, max(vmax, vmin + 1e-6))
    ax.imshow(values, cmap="magma", alpha=0.65, norm=norm)
    return ScalarMappable(norm, "magma")


def side_by_side(
    image: Image.Image,
    maps: Tensor,
    titles: Sequence[str],
    *,
    shared: bool = True,
    boxes: Sequence[Tensor | None] | None = None,
) -> Figure:
    """The image and its maps, two panels a row, with a legend of the colours.

    Args:
        image: what the network saw (`network.transform.view`).
        maps: (M, H, W).
        titles: M titles.
        shared: one scale, from zero to the largest value of all maps, so that colours can be
            compared between them. False: each map from zero to its own maximum.
        boxes: M boxes in pixels of the image (None: no box there), drawn solid.

    Raises:
        ValueError: if there is not one title, or not one box, for each map.
    """
    boxes = [None] * len(maps) if boxes is None else boxes
    if maps.ndim != 3 or not len(titles) == len(boxes) == len(maps):
        raise ValueError(
            f"side_by_side: got maps of shape {tuple(maps.shape)}, {len(titles)} titles and "
            f"{len(boxes)} boxes, expected (M, H, W) and M of each"
        )
    rows = (len(maps) + 2) // 2
    bars = 1 if shared else rows
    fig, axes = figure(rows, 2, rows * (WIDTH / 2 * image.height / image.width + 0.4) + bars * 0.7)
    panels = list(axes.flat)
    for ax in panels[len(maps) + 1 :]:
        ax.set_axis_off()
    with plt.rc_context(STYLE):
        picture(panels[0], image, "image")
        for ax, heatmap, title, box in zip(panels[1:], maps, titles, boxes, strict=False):
            colours = overlay(ax, image, heatmap, title, vmax=float(maps.max()) if shared else None)
            if box is not None:
                draw_box(ax, box)
            if not shared:
                colour_bar(fig, colours, ax, heatmap)
        if shared:
            colour_bar(fig, colours, panels, maps)
    return fig


def colour_bar(fig: Figure, colours: ScalarMappable, axes: Any, maps: Tensor) -> None:
    """A legend below; an arrow at its left says that lower values share the first colour."""
    below = float(maps.min()) < colours.get_clim()[0]
    fig.colorbar(
        colours,
        ax=axes,
        location="bottom",
        label="map value",
        extend="min" if below else "neither",
        aspect=30,
        panchor=False,
        pad=0.02,
    )


def draw_box(ax: Axes, box: Tensor | Sequence[float], kind: str = "ours", label: str = "") -> None:
    """A box (x0, y0, x1, y1), half-open pixels: `ours` solid, `truth` white on black, dashed.

    Raises:
        ValueError: if `kind` is neither.
    """
    if kind not in ("ours", "truth"):
        raise ValueError(f'draw_box: kind is "{kind}", expected "ours" or "truth"')
    x0, y0, x1, y1 = (float(v) for v in box)
    truth = kind == "truth"
    for under in (True, False):
        ax.add_patch(
            Rectangle(
                (x0 - 0.5, y0 - 0.5),  # pixel i is drawn from i - 1/2 to i + 1/2
                x1 - x0,
                y1 - y0,
                fill=False,
                edgecolor="black" if under else "white" if truth else "#56B4E9",
                linestyle=(0, (4, 3)) if truth and not under else "solid",
                linewidth=4 if under else 2,
                label="" if under else label,
            )
        )
