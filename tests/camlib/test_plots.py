"""camlib.plots: what is drawn where, at which scale."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

from camlib import plots

IMAGE = Image.fromarray(np.full((30, 40, 3), 128, np.uint8))


@pytest.fixture
def maps():
    maps = torch.full((2, 3, 4), -1.0)
    maps[0, 0, 0] = 8.0
    maps[1, 2, 3] = 2.0
    return maps


def overlays(fig):
    """The maps drawn in a figure: images with a colour scale and some transparency."""
    return [i for ax in fig.axes for i in ax.get_images() if i.get_alpha() is not None]


def test_compared_maps_share_one_scale_and_one_legend(maps):
    fig = plots.side_by_side(IMAGE, maps, ["a", "b"])
    assert [i.get_clim() for i in overlays(fig)] == [(0, 8), (0, 8)]
    legends = [ax for ax in fig.axes if ax.get_label() == "<colorbar>"]
    assert [ax.get_xlabel() for ax in legends] == ["map value"]
    assert [ax.get_title() for ax in fig.axes[:3]] == ["image", "a", "b"]


def test_maps_on_their_own_scales_have_a_legend_each(maps):
    fig = plots.side_by_side(IMAGE, maps, ["a", "b"], shared=False)
    assert [i.get_clim() for i in overlays(fig)] == [(0, 8), (0, 2)]
    assert sum(ax.get_label() == "<colorbar>" for ax in fig.axes) == 2


def test_a_map_lies_on_the_image_where_its_cells_are(maps):
    (first, second) = overlays(plots.side_by_side(IMAGE, maps, ["a", "b"]))
    assert first.get_array().shape == (30, 40)
    assert np.unravel_index(first.get_array().argmax(), (30, 40)) < (5, 5)
    y, x = np.unravel_index(second.get_array().argmax(), (30, 40))
    assert y > 24
    assert x > 34


def test_the_legend_has_an_arrow_only_where_values_lie_below_it(maps):
    fig, axes = plots.figure(1, 1)
    colours = plots.overlay(axes[0, 0], IMAGE, maps[0])
    plots.colour_bar(fig, colours, axes[0, 0], maps[0])
    plots.colour_bar(fig, colours, axes[0, 0], maps[0].relu())
    assert [ax._colorbar.extend for ax in fig.axes[1:]] == ["min", "neither"]


def test_a_map_without_a_positive_value_is_drawn_in_one_colour():
    fig = plots.side_by_side(IMAGE, -torch.ones(1, 3, 4), ["absent"])
    low, high = overlays(fig)[0].get_clim()
    assert low == 0 < high


def test_figures_are_closed_and_the_style_is_not_left_behind(maps):
    before = plt.rcParams["font.size"]
    plots.side_by_side(IMAGE, maps, ["a", "b"])
    assert plt.get_fignums() == []
    assert plt.rcParams["font.size"] == before


def test_a_box_is_drawn_around_its_pixels():
    fig, axes = plots.figure(1, 1)
    for kind in ("ours", "truth"):
        plots.draw_box(axes[0, 0], [2, 3, 7, 6], kind)
    for patch in axes[0, 0].patches:
        assert patch.get_bbox().extents.tolist() == [1.5, 2.5, 6.5, 5.5]
    styles = [(patch.get_edgecolor()[:3], patch.get_linestyle()) for patch in axes[0, 0].patches]
    assert styles[0] == styles[2] == ((0, 0, 0), "solid")  # black below both
    assert styles[3][0] == (1, 1, 1)
    assert styles[1] != styles[3]
    with pytest.raises(ValueError, match='kind is "predicted"'):
        plots.draw_box(axes[0, 0], [2, 3, 7, 6], "predicted")
    plt.close(fig)


@pytest.mark.parametrize(
    ("shape", "titles", "boxes"),
    [((2, 3, 4), ["a"], None), ((3, 4), ["a"], None), ((1, 3, 4), ["a"], [None, None])],
)
def test_panels_that_do_not_match(shape, titles, boxes):
    with pytest.raises(ValueError, match="side_by_side: got maps of shape"):
        plots.side_by_side(IMAGE, torch.ones(shape), titles, boxes=boxes)
