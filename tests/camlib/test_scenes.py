"""camlib.scenes: numbers that belong together, checked against the networks themselves."""

import pytest
import torch

from camlib import cam, evaluation, gradients, lab, networks, photos, scenes
from camlib.training import normalise

ROUNDING = 1e-5  # relative to the map's size
SCENES = (*scenes.of_photos(), *scenes.of_lab())


def gap(heatmap, bias, logit):
    """How far mean(map) + bias is from the score, as a share of the map's size."""
    return abs(float(heatmap.mean()) + bias - logit) / (float(heatmap.abs().max()) + abs(bias))


@pytest.fixture(scope="module")
def lite0():
    return networks.create("lite0")


@pytest.fixture(scope="module")
def lab_pictures():
    return evaluation.split(lab.StickerWorld("test"), scenes.LAB_PICTURES)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_mean_of_each_map_plus_bias_is_the_score(scene):
    assert len(scene.maps) == len(scene.classes) == len(scene.boxes) > 2
    for heatmap, bias, logit in zip(scene.maps, scene.bias, scene.logits, strict=True):
        assert gap(heatmap, float(bias), float(logit)) < ROUNDING
    # The identity can fail: the score of the next class is another.
    assert gap(scene.maps[0], float(scene.bias[0]), float(scene.logits[1])) > 100 * ROUNDING


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_classes_are_different_and_the_most_probable_stands_first(scene):
    assert len(set(scene.classes)) == len(scene.classes)
    assert scene.probabilities.tolist() == sorted(scene.probabilities.tolist(), reverse=True)
    assert 0 < float(scene.probabilities.sum()) <= 1 + 1e-6


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_true_boxes_lie_in_the_view(scene):
    width, height = scene.view.size
    drawn = torch.cat(list(scene.boxes))
    assert len(drawn)
    x0, y0, x1, y1 = drawn.T
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= width)).all()
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= height)).all()


def test_names_are_unique_and_every_picture_may_be_published():
    names = [scene.name for scene in (*SCENES, *scenes.comparisons())]
    assert len(set(names)) == len(names)
    assert [scene.name for scene in scenes.of_photos()] == list(scenes.PHOTOS)
    for scene in SCENES:
        assert scene.credit
        assert "none stated" not in scene.credit


@pytest.mark.parametrize("scene", scenes.of_photos(), ids=lambda scene: scene.name)
def test_a_photograph_is_what_lite0_makes_of_it(scene, lite0):
    images = lite0.transform(photos.load(scene.name).image)[None]
    result = cam.class_activation_maps(lite0, images, list(scene.classes))
    for ours, theirs in zip(scene.maps, result.maps[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=ROUNDING * float(theirs.abs().max()))
    chosen = result.classes[0]
    torch.testing.assert_close(scene.probabilities, result.logits[0].softmax(0)[chosen])
    assert set(result.logits[0].topk(5).indices.tolist()) <= set(chosen.tolist())


def test_the_helmets_box_went_through_the_view():
    """Drawn at (278, 343, 512, 512) of 512: times 256 / 512, less a border of 16, cut at 224."""
    astronaut = scenes.of_photos()[0]
    helmet = astronaut.boxes[astronaut.classes.index("football helmet")]
    assert helmet.tolist() == [[123, 155.5, 224, 224]]


def test_both_flowers_are_boxes_of_one_class():
    flower = next(scene for scene in scenes.of_photos() if scene.name == "flower")
    assert [len(found) for found in flower.boxes].count(2) == 1
    assert len(flower.boxes[flower.classes.index("daisy")]) == 2


def test_lab_pictures_have_their_true_class_and_its_box(lab_pictures):
    for n, scene in enumerate(scenes.of_lab()):
        true = lab.CLASSES[lab_pictures.labels[n]]
        assert true in scene.title
        for name, found in zip(scene.classes, scene.boxes, strict=True):
            assert found.tolist() == (lab_pictures.boxes[n].tolist() if name == true else [])


def test_comparisons_are_camlibs_maps(lab_pictures):
    gap_network, gmp, vgg16 = (
        networks.create(name, pretrained=True, scale="lab")
        for name in ("googlenet-gap", "googlenet-gmp", "vgg16")
    )
    images = normalise(lab_pictures.images, gap_network)
    for n, comparison in enumerate(scenes.comparisons()):
        one = images[n : n + 1]
        classes = [lab.CLASSES.index(name) for name in comparison.classes]
        saliency = gradients.backprop_saliency(gap_network, one, classes).maps[0]
        fc = gradients.grad_cam(vgg16, one, "features.conv5_3", classes)
        truth = {
            "CAM, GoogLeNet-GAP": cam.class_activation_maps(gap_network, one, classes).maps[0],
            "CAM weights on GoogLeNet-GMP": cam.class_activation_maps(
                gmp, one, classes, check=False
            ).maps[0],
            "Grad-CAM, VGG-16 with FC layers": fc.maps[0],
            "backprop saliency, GoogLeNet-GAP": saliency,
            "backprop saliency, blurred": gradients.smoothed(saliency, scenes.BLUR),
        }
        # Behind an average Grad-CAM is the positive part of CAM over the number of places.
        through_average = truth["CAM, GoogLeNet-GAP"]
        places = through_average[0].numel()
        truth["Grad-CAM, GoogLeNet-GAP"] = through_average.relu() / places
        assert set(comparison.maps) == set(truth)
        for method, maps in truth.items():
            atol = 1e-4 * float(maps.abs().max())
            torch.testing.assert_close(comparison.maps[method], maps, rtol=0, atol=atol)
        assert comparison.classes == scenes.of_lab()[n].classes
        assert comparison.view.tobytes() == scenes.of_lab()[n].view.tobytes()


def test_two_heads_are_their_maps_and_the_third_is_not():
    found = scenes.heads()
    assert list(found) == list(scenes.PHOTOS)
    for scene in scenes.of_photos():
        own, linear, deep = found[scene.name]
        assert gap(own.map, own.bias, own.logit) < ROUNDING
        assert gap(linear.map, linear.bias, linear.logit) < ROUNDING
        assert gap(deep.map, deep.bias, deep.logit) > 0.5
        assert own.map.equal(scene.maps[0])
        assert own.label == scene.classes[0]
        assert linear.label == deep.label == f"a crop of {scene.name}"
        assert linear.map.shape == deep.map.shape == own.map.shape


@pytest.mark.parametrize("name", ["of_photos", "of_lab", "comparisons", "heads"])
def test_making_them_leaves_torch_as_it_was(name):
    make = getattr(scenes, name).__wrapped__  # past the cache
    torch.manual_seed(7)
    state, enabled = torch.random.get_rng_state(), torch.is_grad_enabled()
    make()
    assert torch.random.get_rng_state().equal(state)
    assert torch.is_grad_enabled() == enabled


def test_heads_do_not_depend_on_chance():
    torch.manual_seed(8)
    again = scenes.heads.__wrapped__()
    for name, made in scenes.heads().items():
        for one, other in zip(made, again[name], strict=True):
            torch.testing.assert_close(one.map, other.map)
            assert not one.map.requires_grad
