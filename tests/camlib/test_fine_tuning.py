"""A network fine-tuned anew by the shipped recipe ends where others of its kind do."""

import dataclasses
import statistics

import pytest

from camlib import lab, metrics, recipes, training

NAME = "alexnet-gap"
# Top-1 error on the test split of five runs of `fine_tuned`, seeds 1 to 5. One run in 100 falls
# outside mean +- 5.04 standard deviations of five others (Student's t, 4 degrees of freedom).
RUNS = (0.0485, 0.0570, 0.0535, 0.0495, 0.0475)
# Made by this recipe in this world (`recipes.fingerprint`).
MADE_BY = "f779ebbe7f37c6a34e1e25609c9f04bc0442e4e7a8069949acbd193431703670"
WIDTH = 5.04


def inside(error: float, runs: tuple[float, ...] = RUNS) -> bool:
    return abs(error - statistics.mean(runs)) <= WIDTH * statistics.stdev(runs)


def fine_tuned(seed: int, monkeypatch) -> float:
    """Top-1 error on the test split of a form cut and fine-tuned with another seed."""
    making = recipes.MAKINGS[NAME]
    recipe = dataclasses.replace(making.recipe, seed=seed)
    monkeypatch.setitem(recipes.MAKINGS, NAME, dataclasses.replace(making, recipe=recipe))
    network = recipes.untrained(NAME)
    training.fit(network, *lab.StickerWorld("train").tensors(), recipe, progress=False)
    images, labels = lab.StickerWorld("test").tensors()
    return metrics.top_k_error(training.predict(network, images), labels).mean().item()


def test_the_runs_are_those_of_the_recipe():
    assert recipes.fingerprint(NAME) == MADE_BY


def test_a_new_run_lies_among_the_others(monkeypatch):
    assert inside(fine_tuned(6, monkeypatch))


def test_the_shipped_network_lies_among_them():
    assert inside(recipes.manifest()[NAME]["figures"]["test"]["top1_error"])


def test_other_trainings_lie_outside():
    """Longer training, another network, and a chance answer; an epoch more or less would not."""
    for name in ("alexnet-gap-scratch", "vgg16-gap"):
        assert not inside(recipes.manifest()[name]["figures"]["test"]["top1_error"]), name
    assert not inside(15 / 16)


def test_the_width_is_that_of_a_prediction_interval():
    """By trying: of many sixth runs, one in a hundred lies outside that of its first five."""
    chance = statistics.NormalDist(0.05, 0.005)
    draws = chance.samples(60_000, seed=0)
    sixes = [draws[i : i + 6] for i in range(0, len(draws), 6)]
    outside = sum(not inside(six[5], tuple(six[:5])) for six in sixes) / len(sixes)
    assert outside == pytest.approx(0.01, abs=0.003)
