"""The cover figure, drawn by code: `python book/cover.py` writes book/_static/cover.png."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from camlib import cam, networks, photos, plots

FILE = Path(__file__).parent / "_static" / "cover.png"
ROWS = (("astronaut", "football helmet", "space shuttle"), ("camera", "tripod", "binoculars"))
PANEL, GAP = 248, 4  # pixels


def draw(rows: Sequence[Sequence[str]] = ROWS, panel: int = PANEL) -> Image.Image:
    """One row for each (photo, class, class): the photo, and the maps of both classes over it.

    A panel has `panel` pixels a side.

    Every map runs from zero to its own maximum. The words stand inside the panels, and the gaps
    are grey, so that the figure reads on a light and on a dark page.
    """
    network = networks.create("lite0")
    width, height = (n * (panel + GAP) - GAP for n in (3, len(rows)))
    fig = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="gray")
    for r, (name, *classes) in enumerate(rows):
        photo = photos.load(name).image
        maps = cam.class_activation_maps(network, network.transform(photo)[None], classes).maps[0]
        view = network.transform.view(photo, panel)  # the network's cut, drawn finer
        for c, title in enumerate(("", *classes)):
            left, below = c * (panel + GAP), (len(rows) - 1 - r) * (panel + GAP)
            ax = fig.add_axes((left / width, below / height, panel / width, panel / height))
            if not title:
                plots.picture(ax, view)
                continue
            plots.overlay(ax, view, maps[c - 1])
            label = {"facecolor": "black", "edgecolor": "none", "pad": 5}
            size = 18 * panel / PANEL
            ax.text(10, 11, title, color="white", size=size, va="top", bbox=label)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return Image.fromarray(np.array(canvas.buffer_rgba())).convert("RGB")


def few_colours(figure: Image.Image) -> Image.Image:
    """The figure in 256 colours, dithered: a third of its size as a PNG."""
    colours = figure.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=3)
    return figure.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG)


if __name__ == "__main__":
    few_colours(draw()).save(FILE, optimize=True)
