"""camlib.faithfulness against loops over pixels, sums that must hold, and pytorch-grad-cam."""

import math

import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence, IncreaseInConfidence
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget
from scipy.ndimage import gaussian_filter
from torch import nn

from camlib import faithfulness
from camlib.faithfulness import area, confidence_curves, drop_and_increase

HEIGHT, WIDTH = 6, 7


class Small(nn.Module):
    """Four classes, every weight random."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(160, 4))
        self.eval()

    def forward(self, images):
        return 3 * self.body(images)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    return noise(3, 3, HEIGHT, WIDTH)


MAPS = noise(3, HEIGHT, WIDTH, seed=2)  # no value twice
FILL = torch.tensor([0.5, -0.5, 1.0])[:, None, None]
CLASSES = torch.tensor([2, 0, 3])


def probability(network, image, own):
    with torch.no_grad():
        scores = network(image[None])[0].double().exp()
    return (scores[own] / scores.sum()).item()


@pytest.mark.parametrize("steps", [1, 5, 24, 42])
def test_curves_are_those_of_a_loop_over_pixels(steps, images):
    network = Small()
    found = confidence_curves(network, images, FILL, MAPS, CLASSES, steps=steps, batch=2)
    assert found.shape == (3, steps + 1)
    for i in range(3):
        pixels = [(y, x) for y in range(HEIGHT) for x in range(WIDTH)]
        pixels.sort(key=lambda place, i=i: MAPS[i][place].item(), reverse=True)
        image = images[i].clone()
        for step in range(steps + 1):
            for y, x in pixels[: round(step / steps * len(pixels))]:
                image[:, y, x] = FILL[:, 0, 0]
            expected = probability(network, image, int(CLASSES[i]))
            assert found[i, step].item() == pytest.approx(expected, abs=1e-6)


def test_curves_start_and_end_at_the_two_images(images):
    network, other = Small(), noise(3, 3, HEIGHT, WIDTH, seed=3)
    there = confidence_curves(network, images, other, MAPS, CLASSES, steps=6)
    back = confidence_curves(network, other, images, MAPS, CLASSES, steps=6)
    for curves, ends in ((there, (images, other)), (back, (other, images))):
        for column, end in ((0, ends[0]), (-1, ends[1])):
            expected = [probability(network, *pair) for pair in zip(end, CLASSES, strict=True)]
            assert curves[:, column].tolist() == pytest.approx(expected, abs=1e-6)
    # The other way round with the reversed map passes the same images in reverse.
    reverse = confidence_curves(network, other, images, -MAPS, CLASSES, steps=6)
    torch.testing.assert_close(reverse.flip(1), there, rtol=0, atol=1e-6)


def test_only_the_order_of_a_map_counts(images):
    network = Small()
    curves = confidence_curves(network, images, FILL, MAPS, CLASSES)
    assert torch.equal(confidence_curves(network, images, FILL, MAPS.exp() - 9, CLASSES), curves)
    assert not torch.equal(confidence_curves(network, images, FILL, -MAPS, CLASSES), curves)


def test_small_maps_are_upsampled(images):
    coarse = noise(3, 2, 3, seed=4)
    large = nn.functional.interpolate(coarse[None], (HEIGHT, WIDTH), mode="bilinear")[0]
    curves = [confidence_curves(Small(), images, FILL, m, CLASSES) for m in (coarse, large)]
    assert torch.equal(*curves)


def passed(maps, steps=2, seed=0):
    """Which pixels of images of zeros have become one, (steps + 1, N, h, w)."""
    seen = []
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, 0] == 1))
    zeros, classes = torch.zeros(len(maps), 3, *maps.shape[1:]), torch.zeros(len(maps)).long()
    confidence_curves(network, zeros, torch.ones(3, 1, 1), maps, classes, steps=steps, seed=seed)
    return torch.stack(seen)


def test_equal_pixels_come_in_random_order_that_can_be_repeated():
    half = passed(torch.zeros(2, 20, 30))[1]
    assert (half.sum(dim=(1, 2)) == 300).all()
    for parts in (half[:, :10], half[:, :, :15]):  # in the order of reading the first would be all
        assert (abs(parts.float().mean(dim=(1, 2)) - 0.5) < 0.1).all()
    assert torch.equal(passed(torch.zeros(2, 20, 30))[1], half)
    assert not torch.equal(passed(torch.zeros(2, 20, 30), seed=1)[1], half)


def test_chance_decides_among_equal_pixels_only():
    maps = torch.zeros(2, 20, 30)
    maps[0, 5:10] = 2.0  # 150 pixels
    maps[1, :, 20:25] = -1.0  # 100 pixels, last
    shares = passed(maps, steps=12)
    assert torch.equal(shares[3, 0], maps[0] == 2)
    assert torch.equal(shares[10, 1], maps[1] == 0)
    assert (shares[:, 0, 5:10].float().mean(dim=(1, 2))[:4] * 3).tolist() == [0, 1, 2, 3]


def test_in_a_linear_network_no_order_beats_that_of_the_contributions(images):
    """Its score is a sum over pixels, so what each takes away is known."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * HEIGHT * WIDTH, 2)).eval()
    weight = (network[1].weight[1] - network[1].weight[0]).detach()
    given = (weight.reshape(3, HEIGHT, WIDTH) * (images - FILL)).sum(dim=1)
    ones = torch.ones(3).long()
    best = confidence_curves(network, images, FILL, given, ones, steps=42)
    for other in (-given, given.abs(), MAPS, torch.zeros_like(MAPS)):
        curves = confidence_curves(network, images, FILL, other, ones, steps=42)
        assert (best <= curves + 1e-6).all()
        assert (area(best) < area(curves) - 0.01).all()
    # Down as long as pixels speak for the class, then up; by ever less, then by ever more.
    for curve, own in zip(best.double(), given.double(), strict=True):
        scores = (curve / (1 - curve)).log()
        fall, expected = scores[:-1] - scores[1:], own.flatten().sort(descending=True).values
        assert torch.allclose(fall, expected, rtol=0, atol=1e-4)


def test_areas_of_known_curves():
    curves = torch.tensor([[1, 1, 1, 1, 1], [1, 0.75, 0.5, 0.25, 0], [0, 0, 1, 1, 1]])
    assert area(curves).tolist() == [1, 0.5, 0.625]
    bent = torch.linspace(0, 1, 25).double() ** 2
    assert area(bent).item() == pytest.approx(np.trapezoid(bent, np.linspace(0, 1, 25)))
    assert area(torch.stack([curves, curves])).shape == (2, 3)
    for shape in ((), (3, 1)):
        with pytest.raises(ValueError, match=r"area: got curves of shape \(.*two points or more"):
            area(torch.zeros(shape))


def test_drop_and_increase_are_those_of_pytorch_grad_cam():
    """On black, which is the only fill it knows; its drop is not divided by the probability."""
    network, images, classes = Small(), noise(8, 3, HEIGHT, WIDTH), torch.arange(8) % 4
    maps = noise(8, HEIGHT, WIDTH, seed=5)
    drop, increase = drop_and_increase(network, images, torch.zeros(3, 1, 1), maps, classes)
    scaled = np.stack([np.maximum(m, 0) / m.max() for m in maps.numpy()])
    targets = [ClassifierOutputSoftmaxTarget(c) for c in classes.tolist()]
    theirs = [
        method()(images, scaled[:, None], targets, network)
        for method in (DropInConfidence, IncreaseInConfidence)
    ]
    before = [probability(network, *pair) for pair in zip(images, classes, strict=True)]
    assert (drop * torch.tensor(before)).tolist() == pytest.approx(theirs[0].tolist(), abs=1e-6)
    assert increase.tolist() == theirs[1].tolist()
    assert 0 < increase.sum() < 8, "both cases are there"


def test_drop_and_increase_fade_the_image_into_the_fill(images):
    network = Small()
    share = MAPS.clamp(min=0) / MAPS.clamp(min=0).amax(dim=(1, 2), keepdim=True)
    mixed = images * share[:, None] + FILL * (1 - share[:, None])
    drop, increase = drop_and_increase(network, images, FILL, 7 * MAPS, CLASSES, batch=2)
    for i, own in enumerate(CLASSES):
        y, o = (probability(network, image[i], own) for image in (images, mixed))
        assert drop[i].item() == pytest.approx(max(0, y - o) / y, abs=1e-5)
        assert increase[i].item() == (o > y)


def test_a_map_without_a_positive_value_leaves_the_fill_and_a_constant_one_the_image(images):
    network = Small()
    fill = FILL.expand(3, HEIGHT, WIDTH)
    for value, rest in ((-1.0, [fill] * 3), (0.0, [fill] * 3), (0.3, images)):
        maps = torch.full((3, HEIGHT, WIDTH), value)
        drop, increase = drop_and_increase(network, images, FILL, maps, CLASSES)
        y = [probability(network, *pair) for pair in zip(images, CLASSES, strict=True)]
        o = [probability(network, *pair) for pair in zip(rest, CLASSES, strict=True)]
        expected = [max(0, a - b) / a for a, b in zip(y, o, strict=True)]
        assert drop.tolist() == pytest.approx(expected, abs=1e-5)
        if value > 0:
            assert not increase.any()


# Fills and baselines.


@pytest.mark.parametrize("sigma", [1, 2.5])
def test_blurred_is_scipys_gaussian_cut_at_three_sigma(sigma):
    images = noise(2, 3, 20, 24).double()
    expected = gaussian_filter(
        images.numpy(), sigma, mode="mirror", radius=round(3 * sigma), axes=(2, 3)
    )
    assert np.abs(faithfulness.blurred(images, sigma).numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("name", faithfulness.BASELINES)
def test_baselines_are_maps_of_the_images_size(name):
    images = noise(2, 3, 24, 36)
    maps = faithfulness.BASELINES[name](images)
    assert maps.shape == (2, 24, 36)
    assert maps.dtype == torch.float32
    assert maps.amin() >= 0
    assert (maps.amax(dim=(1, 2)) > maps.amin(dim=(1, 2))).all()


def test_noise_is_uniform_on_coarse_cells_and_can_be_repeated():
    images = torch.zeros(50, 3, 36, 60)
    maps = faithfulness.noise(images)
    cells = maps[:, 1::3, 2::5]  # their centres
    assert cells.shape == (50, 12, 12)
    spread = nn.functional.interpolate(cells[None], (36, 60), mode="bilinear")[0]
    torch.testing.assert_close(maps, spread)
    deciles = torch.histc(cells, 10, 0, 1) / cells.numel()
    assert (abs(deciles - 0.1) < 0.02).all()
    assert len(cells.unique()) > 0.99 * cells.numel(), "every image has its own"
    assert torch.equal(faithfulness.noise(images), maps)
    assert not torch.equal(faithfulness.noise(images, seed=1), maps)


def test_centre_is_a_gaussian_of_a_quarter_of_each_side():
    found = faithfulness.centre(torch.zeros(1, 3, 8, 20))[0]
    for y in range(8):
        for x in range(20):
            squares = ((y - 3.5) / 2) ** 2 + ((x - 9.5) / 5) ** 2  # in units of sigma
            assert found[y, x].item() == pytest.approx(math.exp(-squares / 2), abs=1e-6)


def test_edges_are_where_the_brightness_changes():
    images = torch.zeros(3, 3, 12, 16)
    images[0, :, :, 8:] = 1.0  # a step
    images[1, 0, :, 8:], images[1, 1, :, 8:] = 1.0, -1.0  # of colour alone
    images[2, :, 6:] = 1.0
    maps = faithfulness.edges(images)
    assert (maps[0, 1:-1, 7:9] > 0.5).all()
    assert not maps[0, :, :7].any()
    assert not maps[0, :, 9:].any()
    assert not maps[1].any()
    torch.testing.assert_close(maps[2, 5:7, 1:-1], maps[0, 1:-1, 7:9].T[:, :1].expand(2, 14))


# What does not fit.


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"images": noise(3, HEIGHT, WIDTH)}, r"got images torch.float32 \(3, 6, 7\)"),
        (
            {"other": noise(2, 3, HEIGHT, WIDTH)},
            r"got images of shape \(3, 3, 6, 7\) and \(2, 3, 6, 7\), .* \(3, 1, 1\)",
        ),
        ({"maps": MAPS[:, None]}, r"got maps \(3, 1, 6, 7\) and classes \(3,\) .* maps\[:, 0\]"),
        ({"maps": MAPS[:2]}, r"got maps \(2, 6, 7\)"),
        ({"classes": CLASSES[:, None]}, r"got maps \(3, 6, 7\) and classes \(3, 1\) for"),
        ({"maps": MAPS / 0}, "the maps have values that are not finite"),
        ({"network": Small().train()}, "Small is in training mode"),
    ],
)
def test_what_does_not_fit_is_refused(changed, says, images):
    call = {"network": Small(), "images": images, "other": FILL, "maps": MAPS, "classes": CLASSES}
    for function in (confidence_curves, drop_and_increase):
        with pytest.raises(ValueError, match=rf"^{function.__name__}: {says}"):
            function(*(call | changed).values())


@pytest.mark.parametrize("steps", [0, -1, 43])
def test_more_steps_than_pixels_are_refused(steps, images):
    says = f"confidence_curves: steps is {steps}, expected from 1 to the number of pixels, 42"
    with pytest.raises(ValueError, match=says):
        confidence_curves(Small(), images, FILL, MAPS, CLASSES, steps=steps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_in_another_precision(dtype, images):
    network, classes = Small().to(dtype), torch.zeros(len(images), dtype=torch.long)
    maps = faithfulness.centre(images).float()
    given = images.to(dtype)
    curves = faithfulness.confidence_curves(network, given, torch.zeros(3, 1, 1), maps, classes)
    exact = faithfulness.confidence_curves(
        Small().to(torch.float64), images.double(), torch.zeros(3, 1, 1), maps, classes
    )
    assert curves.dtype == torch.float32
    torch.testing.assert_close(curves, exact, rtol=0.05, atol=0.02)
    drop, _ = faithfulness.drop_and_increase(network, given, torch.zeros(3, 1, 1), maps, classes)
    assert drop.isfinite().all()


def test_a_probability_of_zero_has_nothing_to_lose(images):
    network = Small()
    for weight in network.parameters():
        weight.data *= 1000
    with torch.no_grad():
        least = network(images).argmin(dim=1)
    assert probability(network, images[0], int(least[0])) == 0
    maps = faithfulness.centre(images)
    drop, _ = faithfulness.drop_and_increase(
        network, images, torch.zeros_like(images), maps.to(images), least
    )
    assert (drop == 0).all()
