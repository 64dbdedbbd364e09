"""camlib.deep_features, the lab's new motifs, the stored results and the script that makes them."""

import deep_features as script
import numpy as np
import pytest
import torch
from sklearn.svm import LinearSVC

from camlib import cam, deep_features, lab, networks, recipes, study
from camlib.deep_features import COSTS, LAST
from camlib.training import normalise


@pytest.fixture(scope="module")
def network():
    return networks.create("alexnet-gap", pretrained=True, scale="lab")


@pytest.fixture(scope="module")
def few():
    return lab.StickerWorld("train", new_motifs=True).tensors(range(48))


@pytest.fixture(scope="module")
def fitted(network, few):
    vectors = deep_features.features(network, few[0])
    return vectors, deep_features.fit(vectors, few[1], 0.01)


# features


def test_the_last_layer_is_given_the_average_of_the_maps_or_fc7(network, few):
    images = few[0][:6]
    with torch.no_grad():
        maps = network.forward_features(normalise(images, network))
    gap = deep_features.features(network, images, batch=4)
    torch.testing.assert_close(gap, maps.mean(dim=(2, 3)))
    alexnet = networks.create("alexnet", pretrained=True, scale="lab")
    fc7 = deep_features.features(alexnet, images)
    with torch.no_grad():
        logits = alexnet(normalise(images, alexnet))
        torch.testing.assert_close(alexnet.classifier(fc7), logits)
    assert fc7.shape == (6, 192)


def test_an_earlier_layer_is_averaged_over_its_places(network, few):
    images = few[0][:3]
    found = deep_features.by_layer(network, images, [LAST, "features.conv3", "classifier"])
    with torch.no_grad():
        inputs = normalise(images, network)
        early = network.features[:5](inputs)  # conv1, pool1, conv2, pool2, conv3
        torch.testing.assert_close(found["classifier"], network(inputs))
    torch.testing.assert_close(found["features.conv3"], early.mean(dim=(2, 3)))
    torch.testing.assert_close(found[LAST], deep_features.features(network, images))


def test_nothing_is_left_behind_even_by_an_error(network, few):
    deep_features.by_layer(network, few[0][:1], [LAST])
    with pytest.raises(ValueError, match=r"no layer 'features.conv9' \(there are: features, "):
        deep_features.by_layer(network, few[0][:1], [LAST, "features.conv9"])
    hooks = [(m._forward_hooks, m._forward_pre_hooks) for m in network.modules()]
    assert not any(one or other for one, other in hooks)
    network.train()
    try:
        with pytest.raises(ValueError, match="by_layer: alexnet-gap is in training mode"):
            deep_features.features(network, few[0][:1])
    finally:
        network.eval()


# the SVM


def test_the_svm_is_scikit_learns_on_scaled_features(few, fitted):
    vectors, svm = fitted
    numbers = vectors.double().numpy()
    scaled = (numbers - numbers.mean(0)) / np.where(numbers.std(0) > 0, numbers.std(0), 1)
    by_hand = LinearSVC(C=0.01, max_iter=5000, random_state=0).fit(scaled, few[1].numpy())
    np.testing.assert_allclose(svm[-1].coef_, by_hand.coef_, atol=1e-6)
    right = deep_features.correct(svm, vectors, few[1])
    assert right.mean().item() == svm.score(numbers, few[1].numpy())


def test_c_is_chosen_on_validation_pictures_and_the_scaling_is_of_training_pictures():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    train = torch.randn(60, 40, generator=generator) + labels[:, None] * 0.5
    valid = torch.randn(60, 40, generator=generator) * 9 + labels[:, None] * 0.5
    chosen = deep_features.choose((train, labels), (valid, labels))
    assert chosen.accuracy[chosen.cost] == max(chosen.accuracy.values())
    assert set(chosen.accuracy) == set(COSTS)
    again = deep_features.fit(train, labels, chosen.cost)
    assert deep_features.correct(again, valid, labels).mean() == chosen.accuracy[chosen.cost]
    np.testing.assert_allclose(chosen.svm[0].mean_, train.double().mean(0).numpy())


def test_of_level_costs_the_middle_one_is_taken():
    vectors = torch.tensor([[-1.0], [1.0]]).repeat(10, 1)
    labels = torch.tensor([0, 1]).repeat(10)
    assert deep_features.choose((vectors, labels), (vectors, labels), (1e-3, 0.1, 10)).cost == 0.1


def test_as_a_layer_the_svm_gives_its_decision_values_from_raw_features(fitted):
    vectors, svm = fitted
    with torch.no_grad():
        given = deep_features.linear_layer(svm)(vectors).double()
    truth = torch.from_numpy(svm.decision_function(vectors.double().numpy()))
    assert (given - truth).abs().max() < 1e-4 * truth.abs().max()


def test_maps_of_new_classes_add_up_to_decision_values(network, few, fitted):
    vectors, svm = fitted
    before = network.classifier.weight.clone()
    mapper = deep_features.with_svm(network, svm, lab.NEW_CLASSES)
    inputs = normalise(few[0][:4], network)
    # class_activation_maps refuses maps that do not add up.
    found = cam.class_activation_maps(mapper, inputs, torch.arange(8).expand(4, -1))
    truth = torch.from_numpy(svm.decision_function(vectors[:4].double().numpy()))
    assert (found.logits - truth).abs().max() < 1e-3 * truth.abs().max()
    assert mapper.classes.index("crescents") == 1
    assert torch.equal(network.classifier.weight, before)
    assert network.classes == lab.CLASSES
    two = deep_features.fit(vectors, (few[1] == 3).long(), 0.01)
    one = cam.class_activation_maps(deep_features.with_svm(network, two, ["weave"]), inputs)
    assert one.logits.shape == (4, 1)


def test_an_svm_on_other_features_is_refused(network, few):
    early = deep_features.features(network, few[0], "features.conv3")
    svm = deep_features.fit(early, few[1], 0.01)
    with pytest.raises(ValueError, match="takes 96 numbers, but the network's last layer is given"):
        deep_features.with_svm(network, svm, lab.NEW_CLASSES)


def test_a_class_without_a_name_is_refused(network, fitted):
    with pytest.raises(ValueError, match="got 7 names for an SVM of 8 rows"):
        deep_features.with_svm(network, fitted[1], lab.NEW_CLASSES[:7])


# crops


def test_a_crop_is_the_square_around_the_box():
    image = torch.zeros(1, 3, 40, 60, dtype=torch.uint8)
    image[..., 10:20, 30:50] = 200  # 20 wide, 10 high: the square reaches from row 5 to row 25
    cut = deep_features.crops(image, torch.tensor([[30, 10, 50, 20]]), 20)
    assert cut.shape == (1, 3, 20, 20)
    assert torch.equal(cut[0, 0, :, 0] > 0, (torch.arange(20) >= 5) & (torch.arange(20) < 15))
    assert (cut[0, 0, 5:15] == 200).all()


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (-30, -10, 90, 70), (5, 0, 58, 40)])
def test_no_box_and_a_large_one_give_as_much_as_there_is(box):
    image = torch.arange(40).repeat_interleave(60).reshape(1, 1, 40, 60).expand(1, 3, -1, -1)
    cut = deep_features.crops(image.to(torch.uint8), torch.tensor([box]), 40)
    assert torch.equal(cut[0, 0, :, 0], torch.arange(40, dtype=torch.uint8))


def test_a_square_that_sticks_out_is_moved_inside():
    image = torch.arange(60).repeat(40, 1)[None, None].expand(1, 3, -1, -1).to(torch.uint8)
    cut = deep_features.crops(image, torch.tensor([[56, 10, 60, 30]]), 20)
    assert cut[0, 0, 0].tolist() == list(range(40, 60))


# new motifs


def test_new_motifs_are_other_classes_in_the_same_world():
    world = lab.StickerWorld("test", new_motifs=True, length=40)
    assert world.classes == lab.NEW_CLASSES
    assert not set(lab.CLASSES) & set(lab.NEW_CLASSES)
    labels = [world[i][1]["label"] for i in range(40)]
    assert set(labels) == set(range(8))
    for i in range(3):
        (image, new), (old_image, old) = world[i], lab.StickerWorld("test")[i]
        assert torch.equal(new["masks"], old["masks"])
        outside = ~new["masks"][0]
        difference = (image.int() - old_image.int()).abs().amax(dim=0)
        assert difference[outside].float().mean() < 1  # but for the blur along its outline
        assert difference[~outside].float().mean() > 5


def test_every_new_motif_has_its_share_of_ink_and_is_like_no_other():
    along = torch.arange(120) * 0.97 + 0.3  # not in step with any motif
    v, u = torch.meshgrid(along, along, indexing="ij")
    prints = {}
    for name, motif in {**lab._MOTIFS, **lab._NEW_MOTIFS}.items():
        field = motif(u.numpy(), v.numpy())
        assert field.dtype == np.float32, name
        assert field.shape == (120, 120)
        ink = lab._print(field, np.ones((120, 120), bool), 0.5, 2.0)
        assert abs(ink.mean() - 0.5) < 0.12, name
        spectrum = np.abs(np.fft.rfft2(ink - ink.mean()))
        prints[name] = spectrum / np.linalg.norm(spectrum)
    for new in lab.NEW_CLASSES:
        alike = {name: float((prints[new] * prints[name]).sum()) for name in prints if name != new}
        assert max(alike.values()) < 0.9, (new, max(alike, key=alike.get))


def test_new_motifs_have_no_hues():
    with pytest.raises(ValueError, match="no shortcut has hues for new motifs"):
        lab.StickerWorld("test", new_motifs=True, shortcut="corner")


# what is stored


@pytest.fixture(scope="module")
def stored():
    return study.results("deep_features")


def test_the_results_are_of_todays_settings_and_weights(stored):
    assert stored["settings"] == script.settings()
    shipped = {name: entry["sha256"] for name, entry in recipes.manifest().items()}
    shipped["lite0"] = networks.LITE0_SHA256
    assert set(stored["weights"]) == {*script.NETWORKS, *script.SECOND_LOOK, "lite0"}
    assert stored["weights"].items() <= shipped.items()


def test_every_seed_has_every_figure(stored):
    looks = stored["second look"]
    assert looks["network"] in script.SECOND_LOOK
    fitting = looks[script.FITTING]
    rows_of_sizes = [of[size] for of in (looks, fitting) for size in script.SIZES]
    for rows in (stored["new motifs"], *rows_of_sizes):
        assert [int(seed) for seed in rows] == stored["settings"]["seeds"]
        assert len(rows) >= 3
        first = next(iter(rows.values()))
        for row in rows.values():
            assert row.keys() == first.keys()
            assert row["accuracy"].keys() == first["accuracy"].keys()
            assert all(0 <= v <= 1 for v in row["accuracy"].values())
    for rows in (stored["new motifs"], stored["lite0"]):
        for row in rows.values():
            where = row["localization"]
            assert where["share"] in (share for share in script.evaluation.SHARES)
            assert 0 <= where["at the chosen share"] <= 1
    for row in stored["new motifs"].values():
        for name, curve in row["curves"].items():
            assert list(curve) == [str(n) for n in stored["settings"]["per class"]]
            assert curve["24"] >= curve["3"], name


def test_a_crop_at_20_percent_is_the_map_s_crop_of_the_second_look(stored):
    """Measured by another function of the script, on the same pictures."""
    for size, rows in stored["crop shares"].items():
        assert [int(seed) for seed in rows] == stored["settings"]["seeds"]
        for seed, row in rows.items():
            look = stored["second look"][size][seed]
            assert row["0.2"]["test"] == pytest.approx(look["accuracy"]["map"], abs=0.005)
            assert row["0.2"]["boxed"] == pytest.approx(look["boxed"]["map"], abs=0.005)
            cuts = {cut: row[cut]["valid"] for cut in row if cut != "chosen"}
            assert cuts[row["chosen"]] == max(cuts.values())


def test_a_row_measured_again_gives_the_stored_figures(stored):
    seed = script.SEEDS[0]
    world = script.pictures(seed, new_motifs=True)
    network = script.trained("alexnet-gap")
    vectors = {s: deep_features.features(network, split.images) for s, split in world.items()}
    chosen, accuracy = script.learnt(vectors, world)
    row = stored["new motifs"][str(seed)]
    assert accuracy == pytest.approx(row["accuracy"][f"alexnet-gap {LAST}"], abs=0.01)
    mapper = deep_features.with_svm(network, chosen.svm, lab.NEW_CLASSES)
    where = script.localized(mapper, world)
    for key in ("at 20 %", "at the chosen share", "centre box"):
        assert where[key] == pytest.approx(row["localization"][key], abs=0.02), key


# the script, on a few pictures


def test_the_script_goes_on_where_it_was_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "WORK", tmp_path / "work")
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setattr(script, "LENGTHS", {"train": 120, "valid": 24, "test": 12})
    monkeypatch.setattr(script, "PER_CLASS", (1, 2))
    monkeypatch.setattr(script, "SEEDS", (1,))
    monkeypatch.setattr(script, "LITE0_SEEDS", (1,))
    monkeypatch.setattr(script, "LITE0_SIZE", 64)
    monkeypatch.setattr(script, "NETWORKS", {k: script.NETWORKS[k] for k in ("alexnet-gap",)})
    monkeypatch.setattr(script, "SECOND_LOOK", ("alexnet-gap",))
    monkeypatch.setattr(script, "SIZES", {"any size": 0.3})
    monkeypatch.setattr("sys.argv", ["study", "lite0"])
    script.main()
    assert not (tmp_path / "deep_features.json").exists()
    monkeypatch.setattr("sys.argv", ["study"])
    monkeypatch.setattr(script, "of_lite0", None)  # what is there is not made again
    script.main()
    found = study.results("deep_features")
    assert set(found["second look"]["any size"]) == {"1"}
    monkeypatch.setattr("sys.argv", ["study", "look"])
    with pytest.raises(SystemExit, match="no part look"):
        script.main()


def test_colours_are_counted():
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    images[0, :, 0, 0] = torch.tensor([255, 0, 64])  # 3 * 16 + 0 * 4 + 1
    shares = script.histogram(images)
    assert shares.shape == (1, 64)
    assert (shares[0, 0], shares[0, 49]) == (0.75, 0.25)


def test_a_class_gives_its_first_pictures():
    rows = script.balanced(torch.tensor([1, 0, 1, 1, 0]), 2)
    assert rows.tolist() == [1, 4, 0, 2]
