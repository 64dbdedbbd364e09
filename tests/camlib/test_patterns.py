"""Scenes of known composition, concepts, and patches with and without text or faces."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage

from camlib import lab, patterns


@pytest.fixture(scope="module")
def scenes():
    return patterns.scenes("train", 60)


def test_a_composition_has_what_it_says():
    chances, kinds = patterns.composition(3)
    assert sorted(kinds) == sorted(
        ["everywhere"] * 2
        + ["own, common", "own, rare", "now and then"] * 4
        + ["shared by two"] * 2
    )
    for m, kind in enumerate(kinds):
        own, other = patterns.KINDS[kind]
        homes = {"everywhere": 4, "now and then": 4, "shared by two": 2}.get(kind, 1)
        # What is the same everywhere has no home.
        assert sorted(chances[:, m].tolist()) == pytest.approx(
            sorted([other] * (4 - homes) + [own] * homes)
        )
    for kind in ("own, common", "own, rare"):
        of_kind = chances[:, [k == kind for k in kinds]]
        assert ((of_kind > 0).sum(0) == 1).all()
        assert ((of_kind > 0).sum(1) == 1).all()
    assert patterns.composition(4)[1] != kinds
    assert patterns.composition(3)[0].equal(chances)


def test_scenes_have_the_motifs_of_their_category(scenes):
    chances, _ = patterns.composition(0)
    assert scenes.images.shape == (60, 3, 96, 96)
    assert scenes.images.dtype == torch.uint8
    assert scenes.labels.tolist() == [i % 4 for i in range(60)]
    there = scenes.motifs
    assert there.shape == (60, 16)
    assert (there.sum(1) >= 2).all()
    assert not (there & (chances[scenes.labels] == 0)).any()
    often = there[:, chances.amin(0) > 0.7].double().mean()
    # Two motifs at 0.8 in 60 pictures: within four standard errors, and more by the redrawing.
    assert 0.8 - 4 * (0.16 / 120) ** 0.5 < often < 0.8 + 5 * (0.16 / 120) ** 0.5


def test_scenes_are_the_same_again_and_others_elsewhere(scenes):
    again = patterns.scenes("train", 5)
    assert again.images.equal(scenes.images[:5])
    assert again.where.equal(scenes.where[:5])
    for other in (patterns.scenes("train", 5, seed=1), patterns.scenes("test", 5)):
        assert not any(other.images[i].equal(again.images[i]) for i in range(5))


def test_where_is_where_the_stickers_are():
    """Without them the picture is another there, and the same but for a shadow elsewhere."""
    world = patterns._Composer("test", seed=7, object_size=(0.3, 0.45))
    for i, motifs in enumerate(([3], [0, 9], [5, 12, 14])):
        bare, nothing = world.compose(i, [])
        image, where = world.compose(i, [(m, "large") for m in motifs])
        assert (nothing == -1).all()
        assert set(np.unique(where)) == {-1, *motifs}
        change = abs(image.astype(int) - bare).max(0)
        covered = where >= 0
        assert (change[covered] > 8).mean() > 0.8
        beyond = ~ndimage.binary_dilation(covered, iterations=8)
        assert change[beyond].max() <= 1


def test_the_concept_is_one_motif_on_the_other():
    first, second = "stars", "grid"
    a, b = lab.CLASSES.index(first), lab.CLASSES.index(second)
    kinds = [kind for kind in patterns.CONCEPTS for _ in range(6)]
    made = patterns.concepts("valid", kinds, first, second)
    assert made.labels.tolist() == [patterns.CONCEPTS.index(kind) for kind in kinds]
    expected = {"on": {a, b}, "apart": {a, b}, "first only": {a}, "second only": {b}}
    for kind, where in zip(kinds, made.where, strict=True):
        there = set(where.unique().tolist()) - {-1}
        assert there & {a, b} == expected.get(kind, set())
        assert 1 <= len(there - {a, b}) <= 2
        if kind in ("on", "apart"):
            of_a, of_b = (where == a).numpy(), (where == b).numpy()
            ring = ndimage.binary_dilation(of_a, iterations=2) & ~of_a
            assert (of_b[ring].mean() > 0.7) == (kind == "on")
            assert of_b[ring].mean() > 0.7 or not of_b[ring].any()
    with pytest.raises(ValueError, match="kind is 'beside', expected one of on, apart"):
        patterns.concepts("valid", ["beside"], first, second)


def test_the_size_of_the_first_motif_does_not_tell_where_it_is():
    kinds = ["on", "apart", "first only"] * 20
    made = patterns.concepts("valid", kinds, "stars", "grid")
    areas = (made.where == lab.CLASSES.index("stars")).double().mean((1, 2))
    means = [areas[made.labels == k].mean().item() for k in range(3)]
    assert max(means) < 1.25 * min(means)


def test_covered_by_hand():
    heatmap = torch.tensor([[[4.0, 3.0, 1.0, -2.0]] * 2])
    where = torch.tensor([[[0, 0, 5, 5], [0, -1, 0, 5]]], dtype=torch.int8)
    shares = patterns.covered(heatmap, where, 0.5)  # above 2: the two columns on the left
    assert shares[0, 0] == pytest.approx(3 / 4)
    assert shares[0, 5] == 0
    assert shares[0, [1, 2, 15]].isnan().all()
    assert patterns.covered(heatmap, where, 0.2)[0, 0] == 1
    assert patterns.covered(-heatmap.abs(), where, 0.5)[0, 0] == 0


def test_hard_negatives_by_hand():
    scores = torch.tensor([0.1, 3.0, -1.0, 2.0, 0.5])
    assert patterns.hard_negatives(scores, torch.tensor([1]), 2).tolist() == [3, 4]
    assert patterns.hard_negatives(scores, torch.tensor([], dtype=torch.long), 1).tolist() == [1]
    assert scores[1] == 3  # what is given stays


# patches


@pytest.fixture(scope="module", params=["text", "face"])
def patched(request):
    return patterns.patched(request.param, "test", 8)


def test_a_row_differs_by_its_patch_alone(patched):
    assert patched.positive.shape == (8, 3, 224, 224)
    assert not (patched.masks & patched.others).any()
    for i in range(8):
        near = [
            torch.from_numpy(ndimage.binary_dilation(mask[i].numpy(), iterations=4))
            for mask in (patched.masks, patched.others)
        ]
        one, two, bare = (of[i].int() for of in (patched.positive, patched.negative, patched.bare))
        assert (one - two).abs().amax(0)[~near[0]].max() <= 1  # rounding
        assert (one - bare).abs().amax(0)[~(near[0] | near[1])].max() <= 1
        # The patches are there: in the picture without them something else is.
        assert (one - bare).abs().amax(0)[patched.others[i]].double().mean() > 5
        assert (one - two).abs().amax(0)[patched.masks[i]].double().mean() > 5
        assert patched.sources[i] in patterns.SOURCES["test"]


def test_splits_share_no_photograph_word_font_digit_or_face():
    for of in (patterns.SOURCES, patterns.WORDS, patterns.FONTS):
        assert all(not {*of[a]} & {*of[b]} for a, b in itertools.combinations(of, 2))
    for ranges in (patterns.DIGITS, patterns.FACES):
        ends = sorted(ranges.values())
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))
    assert max(high for _, high in patterns.FACES.values()) <= 100
    # Those whose photographs hold faces or writing are left out.
    used = {name for names in patterns.SOURCES.values() for name in names}
    assert not used & {"astronaut", "camera", "grace_hopper", "coins", "page"}


def test_faces_and_what_is_none_have_the_same_brightness_and_contrast():
    crops = patterns._crops()
    for of in (np.mean, np.std):
        faces, others = (of(part, axis=(1, 2)).mean() for part in (crops[:100], crops[100:]))
        assert faces == pytest.approx(others, abs=0.03)


def test_decoys_are_what_they_say():
    def ink(kind, seed):
        return patterns._decoy(np.random.default_rng(seed), "train", kind)

    assert all(ink("blank", seed).max() == 0 for seed in range(5))
    for kind in ("strokes", "scrambled"):
        shares = [ink(kind, seed).mean() for seed in range(20)]
        assert 0.02 < np.mean(shares) < 0.4
    # Shuffled squares: as much ink as the text, less what does not fill a square.
    text = patterns._written(np.random.default_rng(3), "train")
    assert ink("scrambled", 3).sum() == pytest.approx(text.sum(), rel=0.5)


def test_another_task_is_refused():
    with pytest.raises(ValueError, match="what is 'faces', expected"):
        patterns.patched("faces", "test", 1)
