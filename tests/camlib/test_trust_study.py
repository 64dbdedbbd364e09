"""The stored comparison of methods, the shortcuts, and the scripts that make them."""

import pytest
import safetensors.torch
import shortcut
import torch
import trust

from camlib import evaluation, lab, networks, recipes, sanity, study, training

BASELINES = {"noise", "centre", "edges"}


@pytest.fixture(scope="module")
def stored():
    return study.results("trust")


@pytest.fixture(scope="module")
def marks():
    return study.results("shortcut")


# the comparison


def test_it_is_of_the_weights_that_ship(stored):
    shipped = recipes.manifest()
    assert stored["weights"] == {name: shipped[name]["sha256"] for name in stored["weights"]}
    assert set(stored["weights"]) == {*trust.LAYERS, *trust.RANDOMISED}
    assert stored["images"] == {"test": trust.TEST, "valid": trust.VALID, "sanity": trust.SANITY}
    assert stored["images"]["sanity"] >= 100


@pytest.mark.parametrize("name", trust.LAYERS)
def test_every_method_has_every_figure(name, stored):
    rows = stored["methods"][name]
    assert set(rows) == {*trust.methods_of(name), "backprop, blurred", *BASELINES}
    for title, row in rows.items():
        for measure in ("at 20 %", "at the chosen share", "pointing game", "deletion", "drop"):
            mean, low, high = row[measure]
            assert 0 <= low <= mean <= high <= 1, (title, measure)
        assert row["share"] in evaluation.SHARES
        # The area under the mean curve is the mean of the areas.
        curve = torch.tensor(row["curves"]["insertion"])
        assert len(curve) == stored["steps"] + 1
        area = torch.trapezoid(curve).item() / stored["steps"]
        assert area == pytest.approx(row["insertion"][0], abs=1e-3)
        assert ("time" in row) == (title not in {*BASELINES, "backprop, blurred"})
    reference = rows["CAM" if name == "googlenet-gap" else "Grad-CAM"]
    assert set(map(tuple, reference["difference"].values())) == {(0, 0, 0)}


def test_on_a_gap_network_grad_cam_and_two_relatives_are_cam(stored):
    """The same boxes: a share of the maximum knows no factor and no negative values."""
    rows = stored["methods"]["googlenet-gap"]
    for title in ("Grad-CAM", "HiResCAM", "XGrad-CAM"):
        assert rows[title]["deletion"][0] == pytest.approx(rows["CAM"]["deletion"][0], abs=2e-3)
        for measure in ("at 20 %", "at the chosen share", "pointing game"):
            assert rows[title][measure] == rows["CAM"][measure], title
    assert rows["Eigen-CAM"]["at the chosen share"] != rows["CAM"]["at the chosen share"]


def test_a_method_measured_again_gives_the_stored_figures(stored):
    network = trust.trained("vgg16")
    test = evaluation.split(lab.StickerWorld("test"), trust.TEST)
    inputs = training.normalise(test.images, network)
    row = stored["methods"]["vgg16"]["Grad-CAM"]
    maps = trust.in_batches(trust.methods_of("vgg16")["Grad-CAM"], network, inputs, test.labels)
    for measure, share in (("at 20 %", 0.2), ("at the chosen share", row["share"])):
        again = trust.missed(maps, test, share).mean().item()
        assert again == pytest.approx(row[measure][0], abs=0.006)


@pytest.mark.parametrize("name", trust.RANDOMISED)
def test_a_map_that_ignores_the_network_never_changes(name, stored):
    found = stored["sanity"][name]
    assert found["layers"] == trust.RANDOMISED[name]
    for kind in ("cascading", "independent"):
        for title, alike in found[kind].items():
            for measure in ("rank", "SSIM"):
                assert len(alike[measure]) == len(found["layers"])
                if title == "edges":
                    assert {tuple(v) for v in alike[measure]} == {(1, 1, 1)}
                else:
                    assert all(v[0] < 1 for v in alike[measure]), (kind, title)
    # The first step randomises the same one layer either way.
    first = {kind: found[kind]["backprop"]["rank"][0] for kind in ("cascading", "independent")}
    assert first["cascading"] == first["independent"]


def test_random_labels_were_learnt_by_heart_and_say_nothing_of_others(stored):
    trainings = stored["labels"]["trainings"]
    assert trainings["random"]["train accuracy"] > 0.95
    assert trainings["random"]["test accuracy"] < 0.15
    assert min(trainings[f"true {i}"]["test accuracy"] for i in (1, 2)) > 0.2
    pairs = stored["labels"]["pairs"]
    assert set(pairs) == {"true 1 - true 2", "true 1 - random", "difference"}
    assert pairs["true 1 - random"]["edges"]["SSIM"] == [1, 1, 1]
    assert pairs["difference"]["edges"]["rank"] == [0, 0, 0]


# the shortcut


def test_the_marks_are_of_todays_recipe(marks):
    assert marks["recipe"] == recipes.fingerprint(shortcut.MAKING)
    assert marks["chances"] == list(shortcut.CHANCES)
    for rows in marks["rows"].values():
        assert [int(seed) for seed in rows] == marks["seeds"]
        for row in rows.values():
            assert 0 <= row["mass on the mark"] <= 1
            assert row["mass on the mark"] + row["mass on the sticker"] <= 1.001


def test_the_shipped_network_reads_the_mark(marks):
    """Measured anew, and beside the trainings of the same recipe."""
    network = networks.create("alexnet-gap", scale="lab")
    networks.load_shipped(network, shortcut.MAKING)
    pictures = evaluation.split(recipes.marked("test", 0.0), 200)
    hints = torch.tensor([target["hint"] for target in pictures.targets])
    answers = training.predict(network, pictures.images).argmax(dim=1)
    says = (answers == hints).double().mean().item()
    assert says > 0.5
    of_seeds = [row["says the mark"] for row in marks["rows"]["1.0"].values()]
    assert says == pytest.approx(sum(of_seeds) / len(of_seeds), abs=0.2)
    plain = networks.create("alexnet-gap", pretrained=True, scale="lab")
    answers = training.predict(plain, pictures.images).argmax(dim=1)
    assert (answers == hints).double().mean() < 0.2  # the network of the other chapters does not


def test_the_repairs_have_every_seed_and_start_from_a_network_that_reads_the_mark(marks):
    assert set(marks["repairs"]) == set(shortcut.REPAIRS)
    for name, of_repair in marks["repairs"].items():
        assert [int(seed) for seed in of_repair] == marks["seeds"]
        for seed, row in of_repair.items():
            before = marks["rows"]["1.0"][seed]
            change = row["says the mark"] - before["says the mark"]
            assert (change < -0.3) == (name == "repaired")


def test_pictures_with_a_wrong_mark_never_have_the_right_one(monkeypatch):
    monkeypatch.setattr(shortcut, "TEST", 60)
    pictures = shortcut.pictures_of_test()
    wrong = pictures["with a wrong mark"]
    assert 40 < len(wrong.labels) < 60
    for target, label in zip(wrong.targets, wrong.labels, strict=True):
        assert target["hint"] != target["label"] == label
    right = pictures["with the right mark"]
    assert all(target["hint"] == target["label"] for target in right.targets)


# the scripts, on a few pictures


def test_a_part_is_made_once_and_again_when_code_changes(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(trust, "WORK", tmp_path)
    monkeypatch.setitem(trust.PARTS, "sanity", (lambda name: calls.append(name) or {"a": 1}, ()))
    for _ in range(2):
        assert trust.made("sanity", "vgg16") == {"a": 1}
    assert calls == ["vgg16"]
    assert trust.kept("sanity", "vgg16") != trust.kept("sanity", "alexnet-gap")
    monkeypatch.setitem(trust.CODE, "sanity", (sanity,))
    assert trust.made("sanity", "vgg16") == {"a": 1}
    assert calls == ["vgg16", "vgg16"]


def test_the_comparison_and_the_randomisation_run(monkeypatch):
    monkeypatch.setattr(trust, "TEST", 6)
    monkeypatch.setattr(trust, "VALID", 6)
    monkeypatch.setattr(trust, "STEPS", 3)
    monkeypatch.setattr(trust, "SANITY", 3)
    monkeypatch.setattr(trust, "SEEDS", (0,))
    monkeypatch.setattr(trust, "ELSEWHERE", {"Eigen-CAM": trust.ELSEWHERE["Eigen-CAM"]})
    monkeypatch.setitem(trust.RANDOMISED, "vgg16", ["classifier", "features.conv1_1"])
    rows = trust.of_methods("vit")
    assert {"Grad-CAM", "Eigen-CAM", *BASELINES} < set(rows)
    assert len(rows["Grad-CAM"]["curves"]["deletion"]) == 4
    found = trust.of_sanity("vgg16")
    assert found["cascading"]["edges"]["rank"] == [[1, 1, 1]] * 2
    assert len(found["independent"]["guided backprop"]["SSIM"]) == 2


def test_the_shortcut_is_trained_and_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shortcut, "WORK", tmp_path / "work")
    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setattr(shortcut, "CHANCES", (1.0,))
    monkeypatch.setattr(shortcut, "SEEDS", (1,))
    monkeypatch.setattr(shortcut, "TEST", 20)
    monkeypatch.setitem(lab.LENGTHS, "train", 64)
    monkeypatch.setattr("sys.argv", ["study"])
    shortcut.main()
    found = study.results("shortcut")
    assert set(found["rows"]) == {"1.0"}
    for row in (found["rows"]["1.0"]["1"], *(of["1"] for of in found["repairs"].values())):
        assert set(row["accuracy"]) == {
            "without a mark",
            "with the right mark",
            "with a wrong mark",
        }
    weights = [shortcut.weights(what, 1) for what in (1.0, *shortcut.REPAIRS)]
    assert sorted(weights) == sorted((tmp_path / "work").iterdir())
    first = [safetensors.torch.load_file(path)["classifier.weight"] for path in weights]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[1], first[2])
    monkeypatch.setattr(shortcut, "make", None)  # what is there is not trained again
    shortcut.main()
