"""camlib.study, the stored results, and the scripts that make them."""

import dataclasses
import statistics

import localization
import pytest
import seeds
import torch

from camlib import evaluation, lab, networks, recipes, study

ROWS = [row for row in localization.ROWS if row not in seeds.ON_PARTS]


@pytest.fixture(scope="module")
def stored():
    return study.results("localization")


def test_mean_interval_by_hand():
    # Mean 2, standard deviation 1; Student's t with 2 degrees of freedom: 4.3027 at 95 %.
    mean, low, high = study.mean_interval([1, 2, 3])
    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    narrower = study.mean_interval([1, 2, 3], 0.5)
    assert low < narrower.low < 2 < narrower.high < high


def test_prediction_interval_holds_the_next_value_in_99_of_100():
    draws = statistics.NormalDist(3, 2).samples(40_000, seed=1)
    for size in (3, 5):
        groups = [draws[i : i + size + 1] for i in range(0, len(draws) - size, size + 1)]
        inside = 0
        for *known, new in groups:
            low, high = study.prediction_interval(known)
            inside += low <= new <= high
        assert inside / len(groups) == pytest.approx(0.99, abs=0.004)
    low, high = study.prediction_interval([0.0, 1.0, 2.0, 3.0, 4.0])
    assert (high - low) / 2 == pytest.approx(5.04 * statistics.stdev(range(5)), rel=1e-3)


@pytest.mark.parametrize("interval", [study.mean_interval, study.prediction_interval])
def test_what_no_interval_can_be_made_of_is_refused(interval):
    for values in ([], [1.0], [1.0, float("nan")], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=f"{interval.__name__}: got .* one for each training"):
            interval(values)
    with pytest.raises(ValueError, match="level is 95, expected between 0 and 1"):
        interval([1.0, 2.0], 95)


def test_a_study_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no study 'localisation'; there is: .*localization"):
        study.results("localisation")


# what is stored


def test_the_results_are_those_of_todays_recipes(stored):
    assert stored["recipes"] == {name: seeds.made_by(name) for name in seeds.NAMES}
    shipped = {name: entry["sha256"] for name, entry in recipes.manifest().items()}
    assert stored["weights shipped"].items() <= shipped.items()
    assert stored["images"] == {"test": localization.TEST, "valid": localization.VALID}


def test_every_row_has_every_seed(stored):
    assert len(stored["seeds"]) >= 3
    for row in localization.ROWS:
        has = [int(seed) for seed in stored["rows"][row]]
        # Those on parts are an addition to the tables: the chapter says how many there are.
        assert has == stored["seeds"] or (row in seeds.ON_PARTS and set(has) < {*stored["seeds"]})


def test_figures_are_rates_and_fit_together(stored):
    for row in localization.ROWS:
        shipped = [stored["shipped"][row]] if row in ROWS else []
        for figures in (*stored["rows"][row].values(), *shipped):
            for errors in (figures["at 20 %"], figures["at the chosen threshold"]):
                assert 0 <= errors["top-5"] <= errors["top-1"] <= 1
                assert errors["top-1"] >= figures["classification"]["top-1"]
                assert errors["GT-known"] <= errors["top-1"]
            assert figures["BoxAcc"] <= figures["MaxBoxAcc"] <= 1
            kinds = figures["kinds"]
            assert sum(kinds.values()) == pytest.approx(1)
            assert 1 - kinds["right"] == pytest.approx(
                figures["at the chosen threshold"]["top-1"], abs=1e-3
            )
            assert kinds["wrong class"] == pytest.approx(
                figures["classification"]["top-1"], abs=1e-3
            )


@pytest.mark.parametrize("row", ROWS)
def test_the_shipped_network_lies_among_the_trainings(row, stored):
    """At 99 %, for the localization errors at the chosen share of the maximum."""
    for k in ("top-1", "GT-known"):
        runs = [f["at the chosen threshold"][k] for f in stored["rows"][row].values()]
        low, high = study.prediction_interval(runs)
        assert low <= stored["shipped"][row]["at the chosen threshold"][k] <= high


def test_a_row_measured_again_gives_the_stored_figures(stored):
    valid = evaluation.split(lab.StickerWorld("valid"), localization.VALID)
    test = evaluation.split(lab.StickerWorld("test"), localization.TEST)
    again, shipped = localization.measure("alexnet-gap", 0, valid, test), stored["shipped"]
    for key in ("at 20 %", "at the chosen threshold", "classification", "kinds"):
        assert again[key] == pytest.approx(shipped["alexnet-gap"][key], abs=0.005), key
    for key in ("threshold", "MaxBoxAcc", "BoxAcc", "MaxBoxAccV2", "PxAP", "pointing game"):
        assert again[key] == pytest.approx(shipped["alexnet-gap"][key], abs=0.005), key
    # Another network would not pass for it.
    assert again["PxAP"] != pytest.approx(shipped["alexnet-star-gap"]["PxAP"], abs=0.005)


# the scripts, on a very small world


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The study of two networks, trained for one epoch on 64 pictures, measured on 12."""
    for name in ("googlenet", "googlenet-gap"):
        making = recipes.MAKINGS[name]
        short = dataclasses.replace(making.recipe, epochs=1)
        monkeypatch.setitem(recipes.MAKINGS, name, dataclasses.replace(making, recipe=short))
    monkeypatch.setitem(lab.LENGTHS, "train", 64)
    for module in (seeds, localization):
        monkeypatch.setattr(module, "NAMES", ("googlenet", "googlenet-gap"))
        monkeypatch.setattr(module, "WORK", tmp_path / "study")
    rows = {"googlenet-gap": "googlenet-gap", "backprop on googlenet": "googlenet"}
    monkeypatch.setattr(localization, "ROWS", rows)
    monkeypatch.setattr(localization, "TEST", 6)
    monkeypatch.setattr(localization, "VALID", 6)
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    monkeypatch.setattr("sys.argv", ["study", "1", "2"])
    return tmp_path


def test_the_study_runs_goes_on_where_it_stopped_and_writes_its_results(small, monkeypatch, capsys):
    made, make = [], seeds.make

    def stopping(name, seed, images, labels):
        if len(made) == 3:
            raise KeyboardInterrupt
        make(name, seed, images, labels)
        made.append((name, seed))

    monkeypatch.setattr(seeds, "make", stopping)
    with pytest.raises(KeyboardInterrupt):
        seeds.main()
    assert made == [("googlenet", 1), ("googlenet-gap", 1), ("googlenet", 2)]
    monkeypatch.setattr(seeds, "make", make)
    capsys.readouterr()
    seeds.main()
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:-1]] == ["googlenet-gap, seed 2"]
    assert not list((small / "study").glob("*.pt"))  # no checkpoint of what is finished
    networks_of = [seeds.trained("googlenet", seed) for seed in (1, 2)]
    first = [next(network.parameters()) for network in networks_of]
    assert not torch.equal(*first)

    monkeypatch.setattr("sys.argv", ["study", "2"])
    assert localization.seeds_there() == [1, 2]
    localization.main()  # one seed is measured, and nothing written
    measured = set((small / "study").glob("*.json"))
    assert [path.name.split(".")[1] for path in measured] == ["2", "2"]
    assert not (small / "results").exists()

    monkeypatch.setattr("sys.argv", ["study"])
    localization.main()
    results = study.results("localization")
    assert results["seeds"] == [1, 2]
    assert set(results["rows"]["googlenet-gap"]) == {"1", "2"}
    assert set(results["shipped"]) == {"googlenet-gap", "backprop on googlenet"}
    assert {"tight", "loose"} < set(results["rows"]["googlenet-gap"]["1"]["heuristics"])
    assert results["rows"]["backprop on googlenet"]["1"]["sigma"] in localization.SIGMAS
    assert len(list((small / "study").glob("*.json"))) == 6
    monkeypatch.setattr(localization, "measure", None)  # nothing is measured twice
    localization.main()
    assert study.results("localization") == results

    # Other weights under the same name are other figures.
    path = seeds.weights("googlenet", 2)
    path.write_bytes(seeds.weights("googlenet", 1).read_bytes())
    assert localization.kept("backprop on googlenet", 2) not in measured


def test_another_recipe_is_another_file(small, monkeypatch):
    before = seeds.weights("googlenet-gap", 1)
    monkeypatch.setattr(lab, "VERSION", lab.VERSION + 1)
    assert seeds.weights("googlenet-gap", 1) != before
    assert seeds.made_by("googlenet-gap on parts") != seeds.made_by("googlenet-gap")


def test_without_a_whole_seed_nothing_is_written(small, monkeypatch):
    for arguments in ([], ["1"]):
        monkeypatch.setattr("sys.argv", ["study", *arguments])
        with pytest.raises(SystemExit, match="Not all networks are there yet"):
            localization.main()
    assert not (small / "results").exists()


def test_seed_zero_is_what_ships():
    shipped = networks.create("nin", pretrained=True, scale="lab").state_dict()
    of_study = seeds.trained("nin", 0).state_dict()
    assert all(torch.equal(of_study[key], tensor) for key, tensor in shipped.items())
    with pytest.raises(ValueError, match="googlenet-gap on parts"):  # none is shipped
        seeds.trained("googlenet-gap on parts", 0)
