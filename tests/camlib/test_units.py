"""camlib.units: receptive fields, top activations, orders of units, and scores without units."""

import pytest
import torch
from torch import nn

from camlib import lab, networks, training, units


class Toy(nn.Module):
    """Two convolutions of 3 x 3, the second with stride 2: a field of 5 x 5 pixels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        )
        self.classifier = nn.Linear(6, 3)
        self.eval()

    def forward_features(self, images):
        return self.features(images)

    def forward_head(self, features):
        return self.classifier(features.mean((2, 3)))

    def forward(self, images):
        return self.forward_head(self.forward_features(images))

    def get_classifier(self):
        return self.classifier


@pytest.fixture(scope="module")
def toy():
    return Toy()


IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_field_is_that_of_the_arithmetic(toy):
    # The cell (row 4, column 4) sees row 8 of the first layer, give or take 1, and so 6 to 10.
    field = units.receptive_field(toy, IMAGES)
    assert field.shape == (3, 16, 16)
    assert units.extent(field.sum(0)) == (6, 6, 11, 11)
    places = torch.tensor([[0, 0], [2, 5], [7, 7]])
    found = units.receptive_field(toy, IMAGES, unit=2, places=places)
    assert [units.extent(f) for f in found] == [(0, 0, 3, 3), (8, 2, 13, 7), (12, 12, 16, 16)]


def test_a_pixel_outside_changes_nothing_and_one_inside_does(toy):
    """The same by occlusion, which knows no gradient."""
    before = toy.forward_features(IMAGES)[0, 2, 4, 4]
    inside = units.receptive_field(toy, IMAGES, unit=2)[0] > 0
    for row, column in ((5, 8), (8, 11), (6, 6), (10, 8), (8, 8)):
        changed = IMAGES.clone()
        changed[0, :, row, column] += 1
        moved = bool(toy.forward_features(changed)[0, 2, 4, 4] != before)
        assert moved == bool(inside[row, column]), (row, column)


def test_it_leaves_no_gradient_and_wants_a_network_in_evaluation_mode(toy):
    units.receptive_field(toy, IMAGES)
    assert all(p.grad is None for p in toy.parameters())
    with pytest.raises(ValueError, match=r"receptive_field: .* training mode"):
        units.receptive_field(Toy().train(), IMAGES)


def test_extent_by_hand():
    field = torch.zeros(8, 10)
    field[2, 3:8] = torch.tensor([0.05, 0.2, 0.5, 0.2, 0.05])
    assert units.extent(field) == (3, 2, 8, 3)
    assert units.extent(field, 0.88) == (4, 2, 7, 3)
    assert units.extent(field, 0.4) == (5, 2, 6, 3)
    with pytest.raises(ValueError, match="of a unit that fires"):
        units.extent(torch.zeros(4, 4))
    with pytest.raises(ValueError, match="share is 95"):
        units.extent(field, 95)


def test_top_activations_by_hand():
    features = torch.zeros(3, 2, 4, 5)
    features[0, 1, 2, 3], features[0, 1, 0, 0] = 5.0, 4.0  # the second one of an image is left out
    features[1, 1, 3, 1], features[2, 0, 1, 1] = 7.0, 9.0
    assert units.top_activations(features, 1, 2).tolist() == [[1, 3, 1], [0, 2, 3]]


def test_orders_by_hand():
    weight = torch.tensor([[3.0, 1.0, -2.0], [0.0, 2.0, 1.0]])
    pooled = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 3.0], [1.0, 1.0, 5.0]])
    labels = torch.tensor([0, 0, 1])

    def order(name):
        return units.ranking(weight, pooled, labels, name).tolist()

    assert order("weight") == [[0, 1, 2], [1, 2, 0]]
    assert order("contribution") == [[1, 0, 2], [2, 1, 0]]  # the first unit never fires in class 0
    assert order("lowest weight") == [[2, 1, 0], [0, 2, 1]]
    assert all(sorted(row) == [0, 1, 2] for row in order("random"))
    with pytest.raises(ValueError, match="order is 'weights', expected one of weight, contrib"):
        order("weights")


def test_without_units_is_the_network_with_those_maps_replaced():
    network = networks.create("alexnet-gap", pretrained=True, scale="lab")
    inputs = training.normalise(lab.StickerWorld("test", length=4).tensors()[0], network)
    removed, layer = torch.tensor([3, 77, 120]), network.get_classifier()
    with torch.no_grad():
        features = network.forward_features(inputs)
        for fill in (torch.zeros(128), torch.rand(128)):
            cut = features.clone()
            cut[:, removed] = fill[removed][:, None, None]
            truth = network.forward_head(cut)
            pooled = features.mean((2, 3))
            found = units.ablated(pooled, layer.weight, layer.bias, removed, fill)
            assert torch.allclose(found, truth, atol=1e-4)
            assert pooled.equal(features.mean((2, 3)))
    assert not torch.allclose(found, network.forward_head(features), atol=1e-2)
