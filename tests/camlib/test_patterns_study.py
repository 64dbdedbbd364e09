"""The stored study of patterns and units, and the script that makes it."""

import patterns as script
import pytest
import torch

from camlib import (
    deep_features,
    evaluation,
    lab,
    networks,
    patterns,
    recipes,
    study,
    training,
    units,
)


@pytest.fixture(scope="module")
def stored():
    return study.results("patterns")


def test_it_is_of_the_weights_that_ship_and_of_todays_world(stored):
    shipped = recipes.manifest()
    assert stored["weights"] == {
        name: shipped[name]["sha256"] for name in (script.NETWORK, *script.UNIT_NETWORKS)
    }
    assert stored["world"] == {"version": lab.VERSION, "photographs": lab.source_hash()}


def test_it_has_every_part_with_todays_settings(stored):
    for part, (_, names) in script.PARTS.items():
        assert list(stored[part]) == [str(name) for name in names]
    settings = stored["settings"]
    assert settings["seeds"] == list(script.SEEDS)
    assert settings["scenes"] == script.SCENES
    assert settings["patches"] == script.PATCHES
    assert settings["pool"] == script.POOL
    assert settings["removed"] == list(script.REMOVED)
    assert (settings["units"], settings["rounds"]) == (script.UNITS, script.ROUNDS)


def test_shares_are_shares_and_kinds_have_their_frequency(stored):
    for row in stored["scenes"].values():
        assert row["accuracy"][0] < row["accuracy if the motifs are told"] < 1
        for kind, of_kind in row["kinds"].items():
            # Redrawn pictures have at least two motifs, so all are a little more frequent.
            assert of_kind["frequency"] == pytest.approx(patterns.KINDS[kind][0], abs=0.12)
            assert all(0 <= v <= 1 for k, v in of_kind.items() if k != "stickers")


def test_mined_and_drawn_start_alike_and_have_as_many_negatives(stored):
    for row in stored["concepts"].values():
        assert row["mined"][0] == row["drawn"][0]
        for way in ("mined", "drawn"):
            numbers = [step["negatives"] for step in row[way]]
            assert numbers == [script.FIRST + script.ADDED * n for n in range(script.ROUNDS + 1)]
            assert all(sum(s["kinds"].values()) == s["negatives"] for s in row[way])
        confusions = [
            sum(n for k, n in row[way][-1]["kinds"].items() if k != "neither")
            for way in ("mined", "drawn")
        ]
        assert confusions[0] > confusions[1]  # what mining is for


def test_both_detectors_are_held_against_the_same(stored):
    for row in stored["patches"].values():
        for of in (row["bare negatives"], row["with decoys"]):
            yes, no = of["says yes"]["positive"][0], 1 - of["says yes"]["negative"][0]
            assert of["accuracy against negative"][0] == pytest.approx((yes + no) / 2, abs=1e-3)
            assert of["share"] in evaluation.SHARES
        # A blank map finds every pixel at once: precision is the share of the area.
        assert row["PxAP of a blank map"] == pytest.approx(row["area"], abs=1e-3)


def test_without_a_unit_removed_all_orders_agree(stored):
    for row in stored["units"].values():
        starts = [curve["own"][0] for curve in row["curves"].values()]
        assert all(start == starts[0] for start in starts)
        assert len(row["curves"]) == 2 * len(units.ORDERS)
        assert all(0 <= n <= 10 for n in row["of ten, in both orders"])


def test_units_measured_again_give_the_stored_figures(stored):
    network = networks.create("alexnet-gap", pretrained=True, scale="lab")
    test = evaluation.split(lab.StickerWorld("test"), script.UNITS)
    pooled = deep_features.features(network, test.images)
    layer = network.get_classifier()
    with torch.no_grad():
        right = (pooled @ layer.weight.T + layer.bias).argmax(dim=1) == test.labels
    curve = stored["units"]["alexnet-gap"]["curves"]["weight, zero"]["own"]
    assert right.double().mean().item() == pytest.approx(curve[0][0], abs=0.005)
    # By hand, through the network: the first unit of class 3 is set to zero in its feature map.
    first = int(layer.weight[3].argmax())
    mine = test.images[test.labels == 3]
    with torch.no_grad():
        features = network.forward_features(training.normalise(mine, network))
        features[:, first] = 0
        score = network.forward_head(features)[:, 3].mean().item()
    ranked = units.ranking(layer.weight, pooled, test.labels, "weight")
    found = units.ablated(
        pooled[test.labels == 3], layer.weight, layer.bias, ranked[3, :1], torch.zeros(128)
    )
    assert found[:, 3].mean().item() == pytest.approx(score, abs=1e-3)


def test_scenes_measured_again_give_the_stored_figures(stored, monkeypatch):
    again, before = script.of_scenes(1), stored["scenes"]["1"]
    assert again["C"] == before["C"]
    assert again["accuracy"] == pytest.approx(before["accuracy"], abs=0.01)
    for kind, row in before["kinds"].items():
        assert again["kinds"][kind] == pytest.approx(row, abs=0.02), kind


def test_another_network_is_another_file(monkeypatch, tmp_path):
    before = script.kept("units", "nin")
    assert before != script.kept("units", "vgg16-gap")
    (tmp_path / "nin.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(networks, "WEIGHTS", tmp_path)
    assert script.kept("units", "nin") != before
    assert script.kept("patches", "text").name.startswith("patterns-patches-text.")


def test_an_unknown_part_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["patterns.py", "faces"])
    with pytest.raises(SystemExit, match="There is no part faces; there are scenes, concepts"):
        script.main()
