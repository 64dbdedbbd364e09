"""camlib.sanity: what is randomised and what is not, and its measures against scipy and skimage."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from camlib import networks, sanity

LAYERS = ["classifier", "features.conv5", "features.conv4", "features.conv1.conv"]


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = networks.create("alexnet-gap", scale="lab")
    with torch.no_grad():
        for module in made.modules():  # unequal values, or nothing could change places
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                if tensor.is_floating_point():
                    tensor.uniform_(0.5, 1.5)
    return made


def changed(network, other):
    """Names of the tensors that differ, buffers too."""
    theirs = other.state_dict()
    return {name for name, t in network.state_dict().items() if not torch.equal(t, theirs[name])}


def weights_in(network, *layers):
    return {
        f"{layer}.{name}"
        for layer in layers
        for name, _ in network.get_submodule(layer).named_parameters()
    }


def test_randomised_changes_the_weights_of_the_named_layers_alone(network):
    before = copy.deepcopy(network)
    other = sanity.randomised(network, ["classifier", "features.conv5"])
    # Batch norm's weights too, but not its running statistics.
    assert changed(network, other) == {
        *("classifier.weight", "classifier.bias", "features.conv5.conv.weight"),
        *("features.conv5.norm.weight", "features.conv5.norm.bias"),
    }
    assert changed(network, before) == set(), "and the original stays"
    assert not any(module.training for module in other.modules())


def test_randomised_keeps_each_tensors_values(network):
    other = sanity.randomised(network, ["features.conv5"])
    for name in weights_in(network, "features.conv5"):
        old, new = (n.get_parameter(name).detach() for n in (network, other))
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
        # Across the whole tensor, not within filters or in whole filters.
        moved = (old != new).float().mean()
        assert moved > 0.9
        if old.ndim == 4:
            rows = zip(old.flatten(1), new.flatten(1), strict=True)
            assert not any(torch.isin(a, b).all() for a, b in rows)


def test_randomised_can_be_repeated_and_leaves_the_callers_chance_alone(network):
    state = torch.random.get_rng_state()
    first, again, another = (sanity.randomised(network, LAYERS, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert changed(first, again) == set()
    assert changed(first, another) == weights_in(network, *LAYERS)


def test_cascading_adds_a_layer_each_time_and_keeps_those_before(network):
    found = list(sanity.cascading(network, LAYERS))
    assert [name for name, _ in found] == LAYERS
    previous = network
    for number, (layer, other) in enumerate(found, 1):
        assert changed(network, other) == weights_in(network, *LAYERS[:number])
        assert changed(previous, other) == weights_in(network, layer)
        previous = other


def test_independent_changes_one_layer_each_time(network):
    found = list(sanity.independent(network, LAYERS))
    assert [name for name, _ in found] == LAYERS
    for layer, other in found:
        assert changed(network, other) == weights_in(network, layer)


@pytest.mark.parametrize("walk", [sanity.cascading, sanity.independent])
def test_layers_of_one_shape_are_not_permuted_alike(walk):
    network = nn.ModuleDict({name: nn.Linear(9, 9, bias=False) for name in "ab"})
    with torch.no_grad():
        for layer in network.values():
            layer.weight.copy_(torch.arange(81.0).reshape(9, 9))
    by_name = {name: other[name].weight for name, other in walk(network, ["a", "b"])}
    assert not torch.equal(by_name["a"], by_name["b"])


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("features.conv6", r'no layer .features.conv6.: did you mean "features.conv'),
        ("features.pool1", "features.pool1 has no weights: leave it out"),
    ],
)
def test_layers_that_cannot_be_randomised(layer, says, network):
    with pytest.raises(ValueError, match=f"^randomised: .*{says}"):
        sanity.randomised(network, ["classifier", layer])
    with pytest.raises(ValueError, match=says):
        list(sanity.cascading(network, ["classifier", layer]))


# How alike two maps are.


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_rank_correlation_is_scipys_with_ties_too():
    first, second = maps(3, 2, 9, 11), maps(3, 2, 9, 11, seed=2)
    second += 0.7 * first
    first[1] = first[1].round()
    second[1:] = second[1:].clamp(min=0)  # half of it zero, as after a ReLU
    found = sanity.rank_correlation(first, second)
    assert found.shape == (3, 2)
    for i in np.ndindex(3, 2):
        expected = spearmanr(first[i].flatten(), second[i].flatten()).statistic
        assert found[i].item() == pytest.approx(expected, abs=1e-12)
    assert 0.1 < found.min() < found.max() < 0.9


def test_rank_correlation_knows_the_order_alone():
    first = maps(9, 11)
    for other, expected in ((first.exp(), 1), (-3 * first, -1)):
        assert sanity.rank_correlation(first, other).item() == pytest.approx(expected)
    assert abs(sanity.rank_correlation(maps(99, 99), maps(99, 99, seed=2))) < 0.05


def test_a_map_of_a_single_value_has_no_rank_correlation():
    pair = torch.stack([torch.zeros(9, 9), maps(9, 9)])
    found = sanity.rank_correlation(pair, maps(2, 9, 9, seed=2))
    assert found.isnan().tolist() == [True, False]
    assert sanity.rank_correlation(pair[0], pair[0]).isnan()


def scaled(heatmap):
    low, high = heatmap.min(), heatmap.max()
    return (heatmap - low) / (high - low) if high > low else np.zeros_like(heatmap)


def test_similarity_is_skimages_of_the_maps_as_shown():
    first, second = maps(2, 2, 14, 20), maps(2, 2, 14, 20, seed=2)
    second += first
    second[1] *= 1000  # a picture does not show the scale
    first[1, 1] = 7.0
    found = sanity.similarity(first, second)
    assert found.shape == (2, 2)
    for i in np.ndindex(2, 2):
        pair = (scaled(m[i].double().numpy()) for m in (first, second))
        expected = structural_similarity(*pair, data_range=1.0)
        assert found[i].item() == pytest.approx(expected, abs=1e-9)
    one = sanity.similarity(first[0, 0].requires_grad_(), second[0, 0])
    assert one.shape == ()
    assert one == found[0, 0]


def test_similarity_is_one_for_the_same_picture_and_near_zero_for_unrelated_ones():
    first = maps(2, 40, 40)
    assert sanity.similarity(first, 5 * first - 3).tolist() == pytest.approx([1, 1])
    assert (sanity.similarity(first, maps(2, 40, 40, seed=2)).abs() < 0.1).all()
    assert sanity.similarity(torch.zeros(9, 9), torch.ones(9, 9)) == 1


@pytest.mark.parametrize("measure", [sanity.rank_correlation, sanity.similarity])
def test_maps_that_cannot_be_compared(measure):
    first = maps(2, 9, 9)
    for other, says in (
        (first[:1], r"got maps of shape \(2, 9, 9\) and \(1, 9, 9\), expected the same"),
        (first / 0, "the maps have values that are not finite"),
    ):
        for pair in ((first, other), (other, first)):
            with pytest.raises(ValueError, match=rf"^{measure.__name__}: "):
                measure(*pair)
        with pytest.raises(ValueError, match=says):
            measure(first, other)
    for bad in (torch.zeros(9), torch.zeros(0, 9, 9)):
        with pytest.raises(ValueError, match=rf"^{measure.__name__}: got maps of shape"):
            measure(bad, bad)


def test_maps_smaller_than_a_window_of_the_similarity_are_refused():
    with pytest.raises(ValueError, match=r"similarity: got maps of \(6, 9\), expected 7 x 7"):
        sanity.similarity(maps(2, 6, 9), maps(2, 6, 9))
