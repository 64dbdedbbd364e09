"""camlib.widgets: what the controls do, against numbers computed another way."""

import base64
import datetime
import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image
from skimage import measure

from camlib import boxes, cam, explorer_figures, networks, photos, scenes, widgets

PHOTOS = {scene.name: scene for scene in scenes.of_photos()}
ASTRONAUT = PHOTOS["astronaut"]
KINDS = ("classes", "channels", "scales", "threshold", "methods", "identity", "your_photo")
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def lite0():
    return networks.create("lite0")


@pytest.fixture(scope="module")
def bundles():
    """One explorer of each kind as it is shown in a cell, and what making them left behind."""
    torch.manual_seed(7)
    state, style = torch.random.get_rng_state(), dict(plt.rcParams)
    made = {kind: getattr(widgets, kind)() for kind in KINDS}
    assert torch.random.get_rng_state().equal(state)
    assert dict(plt.rcParams) == style
    assert plt.get_fignums() == []
    return {kind: (explorer, explorer._repr_mimebundle_()) for kind, explorer in made.items()}


def numbers(text):
    """The numbers of a sentence, in order; a minus sign counts as one."""
    return [float(n.replace("\u2212", "-")) for n in re.findall(r"[\u2212]?\d+(?:\.\d+)?", text)]


def set_to(explorer, **values):
    for name, value in values.items():
        explorer.controls[name.replace("_", " ")].value = value
    return explorer.says


# What a cell shows


@pytest.mark.parametrize("kind", KINDS)
def test_an_explorer_is_a_widget_a_figure_and_a_sentence(bundles, kind):
    explorer, bundle = bundles[kind]
    assert set(bundle) == {WIDGET, "image/png", "text/plain"}
    assert bundle[WIDGET]["model_id"] == explorer.view.model_id
    assert bundle["text/plain"].endswith(explorer.says)
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as figure:
        assert figure.format == "PNG"
        assert figure.width == 768  # 4.8 inches, as the book's other figures
        assert np.asarray(figure.convert("L")).std() > 20


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_has_its_words_beside_it(bundles, kind):
    controls = bundles[kind][0].controls
    assert [control.description for control in controls.values()] == list(controls)
    assert all(controls)


@pytest.mark.parametrize("kind", KINDS)
def test_picture_and_sentence_of_the_widget_are_those_of_the_explorer(bundles, kind):
    explorer = bundles[kind][0]
    _, image, text = explorer.view.children
    assert base64.b64encode(explorer.png).decode() in image.value
    assert re.search(r'alt="[^"]{30,}"', image.value)
    assert 'role="status"' in text.value


def test_a_new_picture_is_drawn_once_and_shown_at_once():
    explorer = widgets.classes()
    drawn = []
    explorer.view.children[1].observe(lambda change: drawn.append(change.new), "value")
    set_to(explorer, picture="flower")
    assert len(drawn) == 1
    assert base64.b64encode(explorer.png).decode() in drawn[0]
    assert PHOTOS["flower"].credit in explorer.view.children[2].value
    set_to(explorer, **{"class": "yellow lady's slipper"})
    assert len(drawn) == 2
    assert "yellow lady&#x27;s slipper: probability" in explorer.view.children[2].value


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_an_unknown_picture_is_refused(kind):
    with pytest.raises(ValueError, match=rf"widgets\.{kind}: there is no picture 'coffe'"):
        getattr(widgets, kind)("coffe")


def test_errors_help_where_the_name_is_nearly_right():
    with pytest.raises(ValueError, match='did you mean "coffee"'):
        widgets.classes("coffe")
    with pytest.raises(ValueError, match=r"widgets\.methods: there is no method 'CAM'"):
        widgets.methods(left="CAM")
    assert widgets.scales("coffee").scene.name == "coffee"


def test_without_ipywidgets_the_error_says_what_to_install():
    code = "import sys; sys.modules['ipywidgets'] = None; import camlib.scenes, camlib.widgets"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "camlib.widgets needs ipywidgets" in run.stderr.splitlines()[-1]
    assert "pip install ipywidgets" in run.stderr.splitlines()[-1]


# The six kinds


def test_classes_votes_are_weights_times_features_at_the_place():
    explorer = widgets.classes("coffee")
    coffee = PHOTOS["coffee"]
    says = set_to(explorer, row=2, column=5, **{"class": "cup"})
    votes = [float(w.double() @ coffee.features[:, 2, 5].double()) for w in coffee.weight]
    transposed = [float(w.double() @ coffee.features[:, 5, 2].double()) for w in coffee.weight]
    m, first = coffee.classes.index("cup"), int(np.argmax(votes))
    percent, row, column, _, vote, highest = numbers(says)
    assert percent == round(100 * float(coffee.probabilities[m]))
    assert (row, column) == (2, 5)
    assert vote == pytest.approx(votes[m], abs=0.051)
    assert vote != pytest.approx(transposed[m], abs=0.051)
    assert highest == pytest.approx(votes[first], abs=0.051)
    assert f"{coffee.classes[first]} is highest there" in says


def test_classes_bars_and_frame_are_those_of_the_place():
    figure = explorer_figures.classes(ASTRONAUT, 0, 1, 5)
    view, shown, _, bars = figure.axes
    truth = torch.einsum("ck,k->c", ASTRONAUT.weight, ASTRONAUT.features[:, 1, 5])
    widths = [bar.get_width() for bar in bars.containers[0]]
    assert widths == pytest.approx(truth.tolist(), abs=1e-4)
    for ax in (view, shown):
        assert [patch.get_xy() for patch in ax.patches] == [(5 * 32 - 0.5, 1 * 32 - 0.5)] * 2


def test_classes_start_at_the_highest_place_of_the_map():
    explorer = widgets.classes()
    for name, scene in PHOTOS.items():
        set_to(explorer, picture=name)
        place = explorer.controls["row"].value, explorer.controls["column"].value
        assert scene.maps[0][place] == scene.maps[0].max()
        assert explorer.controls["class"].value == scene.classes[0]


@pytest.mark.parametrize("count", [1, 20, 200, 1280])
def test_channels_add_up_to_the_score(count):
    explorer = widgets.channels("china")
    china = PHOTOS["china"]
    m = china.classes.index("lakeside")
    says = set_to(explorer, **{"class": "lakeside", "channels added": count})
    weight, features = china.weight[m].double().numpy(), china.features.double().numpy()
    given = weight * features.mean(axis=(1, 2))
    best = np.argsort(-given)[:count]
    partial = np.tensordot(weight[best], features[best], 1)
    whole = np.tensordot(weight, features, 1)
    told, _, total, score, correlation = numbers(says)
    assert told == count
    assert total == pytest.approx(given[best].sum() + float(china.bias[m]), abs=0.0051)
    assert score == pytest.approx(float(china.logits[m]), abs=0.0051)
    expected = np.corrcoef(partial.ravel(), whole.ravel())[0, 1]
    assert correlation == pytest.approx(expected, abs=0.0051)
    assert (total == score) == (count == 1280)


def test_no_channel_gives_the_bias_alone():
    says = set_to(widgets.channels(), channels_added=0)
    assert "correlation" not in says
    count, bias, total, _ = numbers(says)
    assert (count, total) == (0, bias)


def test_the_ten_channels_shown_are_those_that_give_most():
    explorer = widgets.channels()
    given, order = explorer._ranked()
    ten = order[:10].tolist()
    figure = explorer_figures.channels(ASTRONAUT, 0, order[:5], given, ten)
    shown = figure.axes[3]
    truth = ASTRONAUT.weight[0] * ASTRONAUT.features.mean(dim=(1, 2))
    assert [text.get_text() for text in shown.texts] == [f"+{v:.2f}" for v in truth.topk(10).values]
    for image, k in zip(shown.get_images(), truth.topk(10).indices, strict=True):
        assert np.array_equal(image.get_array(), ASTRONAUT.features[k])
        assert image.get_clim() == (0, ASTRONAUT.features[k].max())
    partial, whole = figure.axes[:2]
    assert partial.get_images()[1].get_clim() == whole.get_images()[1].get_clim()


def drawn(figure):
    """Values and colour scales of the maps in a figure, left and right."""
    images = [ax.get_images()[1] for ax in figure.axes[:2]]
    return [(image.get_array(), image.get_clim(), image.get_cmap().name) for image in images]


@pytest.mark.parametrize("kind", ["own", "shared", "signed"])
def test_scales_are_what_they_are_called(kind):
    shuttle = ASTRONAUT.classes.index("space shuttle")
    maps = ASTRONAUT.maps[[0, shuttle]]
    left, right = drawn(explorer_figures.scales(ASTRONAUT, (0, shuttle), False, kind))
    high = float(maps.max())
    if kind == "own":
        expected = [(0, high), (0, float(maps[1].max()))]
    else:
        expected = [(-high if kind == "signed" else 0, high)] * 2
    assert [left[1], right[1]] == [pytest.approx(pair) for pair in expected]
    assert left[2] == right[2] == ("PuOr" if kind == "signed" else "magma")


def test_upsampling_repeats_cells_or_goes_between_them():
    (nearest, _, _), _ = drawn(explorer_figures.scales(ASTRONAUT, (0, 1), True, "own"))
    (bilinear, _, _), _ = drawn(explorer_figures.scales(ASTRONAUT, (0, 1), False, "own"))
    blocks = ASTRONAUT.maps[0].repeat_interleave(32, 0).repeat_interleave(32, 1)
    assert np.array_equal(nearest, blocks.numpy())
    assert not np.allclose(bilinear, blocks.numpy(), atol=1)
    assert np.allclose(bilinear, cam.upsample(ASTRONAUT.maps[0], 224))


def test_scales_says_range_and_negative_places():
    explorer = widgets.scales()
    for kind in explorer.controls["colour scale"].options:
        for way in explorer.controls["upsampling"].options:
            set_to(explorer, upsampling=way, **{"colour scale": kind})
    says = set_to(explorer, left="barbell", right="space shuttle")
    found = numbers(says)
    for name, told in (("barbell", found[:4]), ("space shuttle", found[4:])):
        heatmap = ASTRONAUT.maps[ASTRONAUT.classes.index(name)]
        assert told[0] == pytest.approx(float(heatmap.min()), abs=0.051)
        assert told[1] == pytest.approx(float(heatmap.max()), abs=0.051)
        assert told[2:] == [float((heatmap < 0).sum()), 49]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.55, 0.95])
@pytest.mark.parametrize(
    ("picture", "name"), [("coffee", "espresso"), ("flower", "daisy"), ("lab-2", "stars")]
)
def test_threshold_box_is_camlibs_and_its_iou_the_best(picture, name, share):
    explorer = widgets.threshold(picture)
    says = set_to(explorer, threshold=share, **{"class": name})
    m = explorer.scene.classes.index(name)
    large = cam.upsample(explorer.scene.maps[m], explorer.scene.view.height)
    box = boxes.box_from_map(large, share)
    overlaps = [float(boxes.iou(box.float(), t.round())) for t in explorer.scene.boxes[m]]
    told = numbers(says)
    assert told[0] == round(100 * share)
    assert told[1] == round(100 * float((large > share * large.max()).float().mean()))
    assert told[2:7] == [1, *box.tolist()]
    assert told[7] == pytest.approx(max(overlaps), abs=0.0051)
    assert ("found" if max(overlaps) >= 0.5 else "missed") in says


def test_all_regions_are_the_8_connected_ones():
    explorer = widgets.threshold()
    says = set_to(explorer, threshold=0.3, boxes="all regions", **{"class": "torch"})
    heatmap = ASTRONAUT.maps[ASTRONAUT.classes.index("torch")]
    large = cam.upsample(heatmap, 224)
    regions = measure.regionprops(
        measure.label((large > 0.3 * large.max()).numpy(), connectivity=2)
    )
    assert len(regions) == 4
    assert f"{len(regions)} boxes." in says
    truth = sorted([x0, y0, x1, y1] for y0, x0, y1, x1 in (region.bbox for region in regions))
    assert sorted(widgets.boxes_at(large, 0.3, every=True).tolist()) == truth
    assert "so there is no IoU" in says
    corners = torch.eye(8)  # touch at corners alone
    assert widgets.boxes_at(corners, 0.2, every=True).tolist() == [[0, 0, 8, 8]]


def test_a_map_without_a_positive_value_has_no_box():
    nothing = -torch.ones(8, 8)
    for every in (False, True):
        assert widgets.boxes_at(nothing, 0.2, every).shape == (0, 4)
    assert widgets.best_iou(torch.zeros(0, 4), torch.tensor([[0.0, 0, 4, 4]])) == 0
    assert widgets.best_iou(torch.tensor([[0, 0, 4, 4]]), torch.zeros(0, 4)) is None


def test_the_curve_and_its_point():
    explorer = widgets.threshold()
    set_to(explorer, threshold=0.42)
    plot = explorer._figure().axes[1]
    curve, point = plot.lines
    large, truth = cam.upsample(ASTRONAUT.maps[0], 224), ASTRONAUT.boxes[0].round()
    for share, overlap in zip(*curve.get_data(), strict=True):
        box = boxes.box_from_map(large, share / 100).float()
        assert overlap == pytest.approx(float(boxes.iou(box, truth[0])))
    assert point.get_xdata() == pytest.approx([42])
    assert point.get_ydata()[0] in curve.get_ydata()
    set_to(explorer, **{"class": "bobsled"})
    assert explorer._figure().axes[1].lines[:] == []


def test_methods_draws_the_two_chosen_and_says_their_iou():
    right = "Grad-CAM, VGG-16 with FC layers"
    explorer = widgets.methods("comparison-4", right=right)
    set_to(explorer, left="backprop saliency, blurred", threshold=0.4)
    comparison = scenes.comparisons()[3]
    m = next(m for m, found in enumerate(comparison.boxes) if len(found))
    set_to(explorer, **{"class": comparison.classes[m]})
    told = re.findall(r"([^;:.]+): IoU ([\d.]+)", explorer.says)
    assert [name.strip() for name, _ in told] == ["backprop saliency, blurred", right]
    for name, overlap in told:
        large = cam.upsample(comparison.maps[name.strip()][m], 96)
        truth = boxes.iou(boxes.box_from_map(large, 0.4).float(), comparison.boxes[m][0])
        assert float(overlap.rstrip(".")) == pytest.approx(float(truth), abs=0.0051)
    other = next(c for c in comparison.classes if c != comparison.classes[m])
    assert set_to(explorer, **{"class": other}).count("no true box of this class") == 2


@pytest.mark.parametrize("off", [[(6, 3)], [(0, 0), (6, 4), (3, 3)]])
def test_identity_holds_with_places_off_in_the_network_itself(lite0, off):
    explorer = widgets.identity()
    left = ASTRONAUT.features.clone()
    for row, column in off:
        set_to(explorer, row=row, column=column)
        explorer.controls["this place off or on"].click()
        left[:, row, column] = 0
    with torch.no_grad():
        score = lite0.forward_head(left[None])[0, lite0.classes.index("football helmet")]
    total, told, count, places = numbers(explorer.says)
    assert told == total == pytest.approx(float(score), abs=0.00051)
    assert told != pytest.approx(float(ASTRONAUT.logits[0]), abs=0.001)
    assert (count, places) == (len(off), 49)
    assert explorer.says.startswith("The map is the score")
    black = explorer._figure().axes[1].patches[:-2]  # the last two are the frame
    assert [patch.get_xy() for patch in black] == [
        (32 * column - 0.5, 32 * row - 0.5) for row, column in sorted(off)
    ]
    explorer.controls["all places on"].click()
    assert numbers(explorer.says)[1] == pytest.approx(float(ASTRONAUT.logits[0]), abs=0.00051)
    assert explorer.controls["all places on"].disabled


def test_a_place_can_be_switched_on_again():
    explorer = widgets.identity()
    before = explorer.says
    switch = explorer.controls["this place off or on"]
    switch.click()
    assert "1 of 49 places off" in explorer.says
    switch.click()
    assert explorer.says == before


@pytest.mark.parametrize("picture", scenes.PHOTOS)
def test_the_head_with_two_layers_does_not_add_up(picture):
    explorer = widgets.identity(picture)
    explorer.controls["this place off or on"].click()
    for head, verdict in ((1, "The map is the score"), (2, "The numbers do not add up")):
        says = set_to(explorer, head=head)
        truth = scenes.heads()[picture][head]
        assert says.startswith(verdict)
        assert "off" not in says.split("Places can be")[0]
        total, score = numbers(says)[:2]
        assert total == pytest.approx(float(truth.map.mean()) + truth.bias, abs=0.00051)
        assert score == pytest.approx(truth.logit, abs=0.00051)
        assert explorer.controls["this place off or on"].disabled


# Your own photo


def uploaded(name, content):
    now = datetime.datetime.now(datetime.UTC)
    file = {"name": name, "type": "", "size": len(content), "last_modified": now}
    return (file | {"content": memoryview(content)},)


def as_png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def five_best(network, image):
    with torch.no_grad():
        probabilities = network(network.transform(image)[None])[0].softmax(0)
    return [network.classes[c] for c in probabilities.topk(5).indices.tolist()]


def test_an_uploaded_photo_is_classified_and_boxed(lite0):
    explorer = widgets.your_photo()
    flower = photos.load("flower").image
    explorer.controls["choose a photo"].value = uploaded("dahlia.png", as_png(flower))
    best = five_best(lite0, flower)
    assert [name.rsplit(",", 1)[0] for name, _ in explorer.controls["class"].options] == best
    result = cam.class_activation_maps(lite0, lite0.transform(flower)[None])
    large = cam.upsample(result.maps[0, 0], 224)
    for share in (0.2, 0.6):
        says = set_to(explorer, threshold=share)
        box = lite0.transform.box_in_photo(boxes.box_from_map(large, share), flower.size)
        corners = re.search(r"box \(([\d, ]+)\)", says)[1].split(", ")
        assert [int(corner) for corner in corners] == box.round().int().tolist()
    assert f"{flower.width} \u00d7 {flower.height} pixels" in explorer.says


def test_any_class_can_be_searched_for(lite0):
    explorer = widgets.your_photo()
    says = set_to(explorer, another_class="Tiger cat")
    image = lite0.transform(photos.load("coffee").image)[None]
    heatmap = cam.class_activation_maps(lite0, image, ["tiger cat"]).maps[0, 0]
    low, high = numbers(says.split("Map of tiger cat: ")[1])[:2]
    assert low == pytest.approx(float(heatmap.min()), abs=0.051)
    assert high == pytest.approx(float(heatmap.max()), abs=0.051)
    assert len(explorer.controls["class"].options) == 6
    says = set_to(explorer, another_class="expresso")
    assert says.startswith(
        'The last class stays: there is no class "expresso": did you mean "espresso"?'
    )
    assert "Map of tiger cat" in says
    # The complaint goes with the next change, and a new picture starts with its own five.
    assert "expresso" not in set_to(explorer, threshold=0.3)
    explorer.controls["choose a photo"].value = uploaded(
        "x.png", as_png(photos.load("camera").image)
    )
    assert len(explorer.controls["class"].options) == 5
    assert explorer.controls["another class"].value == ""


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("notes.txt", b"no picture at all", "notes.txt is not an image that Pillow can read"),
        ("IMG_1.HEIC", b"\x00\x00\x00\x18ftypheic", "IMG_1.HEIC is not an image"),
        ("half.png", as_png(photos.load("chelsea").image)[:5000], "half.png cannot be read"),
        ("../../thin.png", as_png(Image.new("RGB", (2000, 10))), "sides within a factor of 50"),
        ("", b"", "is not an image"),
    ],
)
def test_what_cannot_be_read_is_said_and_the_last_picture_stays(name, content, complaint):
    explorer = widgets.your_photo()
    before = explorer.png, explorer.says
    explorer.controls["choose a photo"].value = uploaded(name, content)
    first, rest = explorer.says.split("\n")
    assert first.startswith("The last picture stays: ")
    assert complaint in first
    assert "/" not in first  # of the folder in between the reader knows nothing
    assert (explorer.png, rest) == before


def test_your_photo_starts_with_what_it_is_given(tmp_path, lite0):
    camera = photos.load("camera").image
    camera.save(tmp_path / "mine.png")
    for given in (tmp_path / "mine.png", camera):
        explorer = widgets.your_photo(given)
        assert explorer.says.startswith(
            f"Five most probable of 1000 classes: {five_best(lite0, camera)[0]}"
        )
    with pytest.raises(FileNotFoundError, match="no file"):
        widgets.your_photo(tmp_path / "missing.png")
