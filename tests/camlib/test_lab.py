"""camlib.lab: every pixel's truth, knobs that touch nothing else, nothing but the motif tells."""

import colorsys
import hashlib
import itertools

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import binom
from skimage.feature import local_binary_pattern
from sklearn.ensemble import RandomForestClassifier
from torchvision.transforms import v2

from camlib import lab, photos

CLASSES = len(lab.CLASSES)


def grown(mask, by):
    """The mask and everything within `by` pixels of it; a negative number shrinks it."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(by) + 1,) * 2)
    change = cv2.dilate if by > 0 else cv2.erode
    return change(np.asarray(mask).astype(np.uint8), disc) > 0


def difference(image, other):
    """Largest difference of the three channels at each pixel, (h, w)."""
    return (image.int() - other.int()).abs().amax(0).numpy()


def same(pair, other):
    (image, target), (other_image, other_target) = pair, other
    return torch.equal(image, other_image) and all(
        torch.equal(torch.as_tensor(target[k]), torch.as_tensor(other_target[k])) for k in target
    )


# ---- which picture it is ----


def test_a_picture_depends_on_seed_split_and_index_alone():
    world = lab.StickerWorld("train")
    backwards = [world[i] for i in (7, 3, 0)]
    short = lab.StickerWorld("train", length=8)
    assert all(same(short[i], made) for i, made in zip((7, 3, 0), backwards, strict=True))
    others = (
        lab.StickerWorld("train", seed=1)[3],
        lab.StickerWorld("valid")[3],
        lab.StickerWorld("test")[3],
        world[4],
    )
    pictures = [world[3], *others]
    for (image, _), (other, _) in itertools.combinations(pictures, 2):
        assert not torch.equal(image, other)
    labels = [
        [int(lab.StickerWorld(split, seed=seed).tensors([i])[1]) for i in range(20)]
        for split, seed in (("train", 0), ("train", 1), ("test", 0))
    ]
    assert labels[0] != labels[1] != labels[2] != labels[0]


def test_lengths_and_iteration_to_the_end():
    for split, length in lab.LENGTHS.items():
        assert len(lab.StickerWorld(split)) == length
    world = lab.StickerWorld("valid", size=32, length=3)
    assert len(world) == len(list(world)) == 3
    for i in (3, -1):
        with pytest.raises(IndexError, match=f"no picture {i}, the length is 3"):
            world[i]
    with pytest.raises(IndexError, match="no picture 3"):
        world.tensors([0, 3])


def test_tensors_are_the_pictures():
    world = lab.StickerWorld("valid", length=6)
    images, labels = world.tensors()
    assert images.shape == (6, 3, 96, 96)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    for i, (image, target) in enumerate(world):
        assert torch.equal(images[i], image)
        assert labels[i] == target["label"]
    some, some_labels = world.tensors([4, 1])
    assert torch.equal(some, images[[4, 1]])
    assert torch.equal(some_labels, labels[[4, 1]])


def test_no_photograph_serves_two_splits_and_all_may_be_shown():
    used = list(itertools.chain(*lab.SOURCES.values()))
    assert len(used) == len(set(used))
    assert list(lab.SOURCES) == list(lab.LENGTHS)
    for name in used:
        assert "none stated" not in photos.load(name).licence


def test_source_hash_is_that_of_the_files(monkeypatch):
    files = hashlib.sha256()
    for name in sorted(itertools.chain(*lab.SOURCES.values())):
        files.update(photos.load(name).path.read_bytes())
    assert lab.source_hash() == files.hexdigest()
    monkeypatch.setitem(lab.SOURCES, "valid", ("chelsea",))
    assert lab.source_hash() != files.hexdigest()


def test_class_names_are_plain_words():
    assert CLASSES == len(set(lab.CLASSES)) == 16
    assert all(c.isalpha() or c == " " for name in lab.CLASSES for c in name)
    assert lab.StickerWorld("test").classes == lab.CLASSES


# ---- truth ----


@pytest.mark.parametrize("knobs", [{}, {"instances": (2, 4), "second_class": True, "parts": True}])
def test_boxes_are_tight_around_masks_that_do_not_meet(knobs):
    world = lab.StickerWorld("test", length=15, **knobs)
    for image, target in world:
        n = len(target["labels"])
        assert image.shape == (3, 96, 96)
        assert image.dtype == torch.uint8
        assert target["masks"].shape == (n, 96, 96)
        assert target["masks"].dtype == torch.bool
        assert target["boxes"].shape == (n, 4)
        assert target["boxes"].dtype == torch.float32
        assert target["labels"].dtype == torch.int64
        assert target["masks"].sum(0).max() == 1
        for box, mask in zip(target["boxes"].tolist(), target["masks"], strict=True):
            inside = [(x, y) for y in range(96) for x in range(96) if mask[y, x]]
            xs, ys = zip(*inside, strict=True)
            assert box == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]
            assert cv2.connectedComponents(mask.numpy().astype(np.uint8))[0] == 2  # in one piece


def test_boxes_and_masks_follow_torchvisions_transforms():
    image, target = lab.StickerWorld("test")[5]
    flipped, moved = v2.RandomHorizontalFlip(p=1)(image, target)
    assert torch.equal(flipped, image.flip(2))
    columns = moved["masks"][0].any(0).nonzero()
    assert moved["boxes"][0, 0] == columns.min()
    assert moved["boxes"][0, 2] == columns.max() + 1


def test_the_mask_is_where_a_sticker_changes_the_picture():
    # Of several stickers none is larger than 0.6 of the side, so the first one is not here either.
    without = lab.StickerWorld("test", length=40, object_size=(0.3, 0.6))
    world = lab.StickerWorld("test", length=40, object_size=(0.3, 0.6), second_class=True)
    changed = {"mask": [], "flipped mask": []}
    for (bare, _), (image, target) in zip(without, world, strict=True):
        mask = target["masks"][1].numpy()
        change = difference(bare, image)
        assert not change[~grown(mask, 8)].any()  # the shadow reaches no further
        for name, place in (("mask", mask), ("flipped mask", mask[::-1])):
            changed[name].append((change[grown(place, -2)] > 12).mean())
            edge = grown(place, 2) & ~grown(place, -2)
            assert edge.any()
    assert np.mean(changed["mask"]) > 0.95
    assert np.mean(changed["flipped mask"]) < 0.5


def test_masks_agree_with_those_drawn_four_times_larger():
    small = lab.StickerWorld("test", length=15)
    large = lab.StickerWorld("test", size=384, length=15)
    for (_, target), (_, fine) in zip(small, large, strict=True):
        mask = target["masks"][0].float()
        cover = torch.nn.functional.avg_pool2d(fine["masks"].float(), 4)[0]
        assert (mask - cover).abs().max() < 0.9
        assert abs(mask.sum() - cover.sum()) < 0.02 * cover.sum()
        shifted = mask.roll(1, 1)  # by one pixel: no longer the truth
        assert (mask - cover).abs().sum() < 0.6 * (shifted - cover).abs().sum()


# ---- the class shows in the motif alone ----


@pytest.mark.parametrize("parts", [False, True])
def test_with_another_motif_the_picture_changes_on_the_motif_alone(parts, monkeypatch):
    world = lab.StickerWorld("test", length=30, parts=parts)
    pictures = list(world)
    for name in lab.CLASSES:
        monkeypatch.setitem(lab._MOTIFS, name, lab._MOTIFS["stars"])
    for (image, target), (other, other_target) in zip(pictures, world, strict=True):
        place = target["parts" if parts else "masks"][0]
        change = difference(image, other)
        assert not change[~grown(place, 4)].any()
        assert torch.equal(target["masks"], other_target["masks"])
        assert (change[place.numpy()].mean() > 5) == (world.classes[target["label"]] != "stars")


@pytest.mark.parametrize("name", lab.CLASSES)
def test_every_motif_prints_the_share_of_ink_it_is_asked_for(name):
    x, y = np.meshgrid(*[np.arange(-30, 30, 0.5, dtype=np.float32)] * 2)
    cos, sin = np.float32(np.cos(0.4)), np.float32(np.sin(0.4))  # not along the rows of pixels
    field = lab._MOTIFS[name](cos * x + sin * y + 40, cos * y - sin * x + 40)
    assert field.dtype == np.float32
    where = np.hypot(x, y) < 20
    for share in (0.4, 0.5, 0.6):
        ink = lab._print(field, where, share, 2)
        assert ink[where].mean() == pytest.approx(share, abs=0.015)
        assert ((ink[where] > 0.1) & (ink[where] < 0.9)).mean() < 0.4  # most of it is one or other


def test_no_motif_is_another_one_turned_or_mirrored():
    def printed(name, side, angle=0.1, scale=1.0, mirror=1):
        x, y = np.meshgrid(*[np.arange(side, dtype=np.float32) - side / 2] * 2)
        u = (np.cos(angle) * x + np.sin(angle) * y) * scale * mirror + 40
        v = (np.cos(angle) * y - np.sin(angle) * x) * scale + 40
        field = lab._MOTIFS[name](u.astype(np.float32), v.astype(np.float32))
        return lab._print(field, np.ones_like(u, bool), 0.5, 1)

    turned = [
        (angle, scale, mirror)
        for angle in 0.1 + np.arange(24) * np.pi / 12
        for scale in (0.9, 1, 1.1)
        for mirror in (1, -1)
    ]
    best = np.zeros((CLASSES, CLASSES))
    for i, name in enumerate(lab.CLASSES):
        patches = [printed(name, 28, *how) for how in turned]
        for j, other in enumerate(lab.CLASSES):
            wide = printed(other, 56)
            best[i, j] = max(
                cv2.matchTemplate(wide, patch, cv2.TM_CCOEFF_NORMED).max() for patch in patches
            )
    assert np.diag(best).min() > 0.97  # itself is found
    others = best - 2 * np.eye(CLASSES)
    worst = np.unravel_index(others.argmax(), others.shape)
    assert others.max() < 0.92, [lab.CLASSES[k] for k in worst]


def colours(image):
    """How often each of 64 colours occurs, and each of 16 values in each channel."""
    coarse = (image >> 6).astype(int)
    joint = np.bincount((coarse[0] * 16 + coarse[1] * 4 + coarse[2]).ravel(), minlength=64)
    return np.concatenate([joint, *(np.bincount((c >> 4).ravel(), minlength=16) for c in image)])


def thumbnail(image):
    small = cv2.resize(image.transpose(1, 2, 0), (12, 12), interpolation=cv2.INTER_AREA)
    return np.concatenate([small.ravel(), colours(image)])


def clues(image, target):
    """What a classifier gets to see: everything but the motif, then the motif."""
    image, mask = image.numpy(), target["masks"][0].numpy()
    box = target["boxes"][0].numpy()
    x, y = (box[:2] + box[2:]) / 2
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]]
    covered = image.copy()
    covered[:, np.hypot(columns - x, rows - y) < 38] = 127  # a disc larger than every sticker
    x, y = (int(np.clip(c, 16, 80)) for c in (x, y))
    grey = image[:, y - 14 : y + 14, x - 14 : x + 14].mean(0).astype(np.uint8)
    texture = np.bincount(local_binary_pattern(grey, 8, 2, "uniform").astype(int).ravel())
    spectrum = np.abs(np.fft.fft2((grey - grey.mean()) / (grey.std() + 1)))
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(28) * 28] * 2)).astype(int)
    return {
        "colour": colours(image),
        "colour of the sticker": colours(image[:, mask][:, :, None]),
        "background": thumbnail(covered),
        "place and outline": [*box, *(box[2:] - box[:2]), mask.sum()],
        "corners": np.concatenate([image[:, a, b] for a in (12, -13) for b in (12, -13)]),
        "motif": np.concatenate(
            [np.resize(texture, 10), np.bincount(radius.ravel(), spectrum.ravel())]
        ),
    }


def accuracy(wanted, train, test, **knobs):
    """Of a random forest for each clue, which learns on the training split; {clue: accuracy}."""
    seen = {}
    for split, length in (("train", train), ("test", test)):
        world = lab.StickerWorld(split, length=length, **knobs)
        pairs = [(clues(image, target), target["label"]) for image, target in world]
        features = {w: np.array([c[w] for c, _ in pairs], float) for w in wanted}
        seen[split] = features, [label for _, label in pairs]
    found = {}
    for clue in wanted:
        forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=0)
        forest.fit(seen["train"][0][clue], seen["train"][1])
        found[clue] = forest.score(seen["test"][0][clue], seen["test"][1])
    return found


def test_nothing_but_the_motif_tells_the_class():
    telling_nothing = ("colour", "colour of the sticker", "background", "place and outline")
    found = accuracy((*telling_nothing, "corners", "motif"), 2000, 1000)
    bound = binom.ppf(0.999, 1000, 1 / CLASSES) / 1000
    for clue in (*telling_nothing, "corners"):
        assert found[clue] <= bound, found
    assert found["motif"] > 0.3, found


def test_the_same_classifiers_find_a_shortcut():
    tinted = accuracy(("colour", "background"), 600, 200, shortcut="background")
    assert min(tinted.values()) > 0.3, tinted
    marked = accuracy(("corners",), 600, 200, shortcut="corner")
    assert marked["corners"] > 0.3, marked


# ---- knobs ----


def test_a_corner_mark_changes_a_corner_alone():
    for (image, target), (marked, marked_target) in zip(
        lab.StickerWorld("test", length=20),
        lab.StickerWorld("test", length=20, shortcut="corner"),
        strict=True,
    ):
        ys, xs = np.nonzero(difference(image, marked))
        from_sides = np.maximum(np.minimum(xs, 95 - xs), np.minimum(ys, 95 - ys))
        assert 20 < from_sides.max() < 30  # the badge ends 22 pixels from a side, then its shadow
        assert len({(x > 48, y > 48) for x, y in zip(xs, ys, strict=True)}) == 1
        assert marked_target.pop("hint") == target["label"]
        assert same((image, target), (image, marked_target))


def mark(image):
    """The class whose hue the mark in a corner has, or none: the most colourful corner's."""
    size = image.shape[1]
    corners = [image[:, y, x] / 255 for y in (12, size - 13) for x in (12, size - 13)]
    hue = max((colorsys.rgb_to_hsv(*map(float, c)) for c in corners), key=lambda c: c[1] * c[2])[0]
    return round(hue * CLASSES) % CLASSES


def test_the_mark_has_the_hue_of_the_class_as_often_as_asked():
    plain = lab.StickerWorld("test", length=120)
    bare = [image for image, _ in plain]
    for probability in (0.0, 0.5, 1.0):
        marked = lab.StickerWorld(
            "test", length=120, shortcut="corner", shortcut_probability=probability
        )
        hits = []
        for (image, target), without in zip(marked, bare, strict=True):
            changed = torch.from_numpy(difference(image, without) > 0)
            hits.append(mark(image * changed) == target["label"])
        expected = probability + (1 - probability) / CLASSES
        assert np.mean(hits) == pytest.approx(expected, abs=0.15), probability


def test_a_tinted_background_leaves_the_sticker_as_it_is():
    everywhere = []
    for (image, target), (tinted, tinted_target) in zip(
        lab.StickerWorld("test", length=20),
        lab.StickerWorld("test", length=20, shortcut="background"),
        strict=True,
    ):
        change = difference(image, tinted)
        assert not change[grown(target["masks"][0], -6)].any()
        assert same((image, target), (image, tinted_target))
        everywhere.append((change > 10).mean())
    assert np.mean(everywhere) > 0.3


def test_more_stickers_leave_the_first_as_it_is():
    counts = set()
    sizes = {"length": 40, "object_size": (0.3, 0.6)}  # of several stickers none is larger
    one = lab.StickerWorld("test", **sizes)
    world = lab.StickerWorld("test", **sizes, instances=(1, 3), second_class=True)
    for (image, target), (more, more_target) in zip(one, world, strict=True):
        labels = more_target["labels"].tolist()
        counts.add(len(labels))
        assert set(labels[:-1]) == {target["label"]} == {more_target["label"]}
        assert labels[-1] != target["label"]
        assert torch.equal(target["masks"][0], more_target["masks"][0])
        added = more_target["masks"][1:].any(0)
        assert not difference(image, more)[~grown(added, 8)].any()
    assert counts == {2, 3, 4}
    assert {len(t["labels"]) for _, t in lab.StickerWorld("test", length=5, instances=6)} == {6}


def test_object_size_is_the_diameter():
    widest = {}
    for share in (0.2, 0.5, 0.9):
        world = lab.StickerWorld("test", length=30, object_size=share)
        sides = torch.stack([t["boxes"][0, 2:] - t["boxes"][0, :2] for _, t in world])
        widest[share] = float(sides.amax(1).mean()) / 96
        assert sides.max() <= 96 * share + 2
    assert all(0.75 * share < wide < 1.02 * share for share, wide in widest.items()), widest


def test_the_telling_part_is_a_small_part_of_a_larger_object():
    plain = lab.StickerWorld("test", length=30)
    world = lab.StickerWorld("test", length=30, parts=True)
    shares, growth = [], []
    for (_, target), (_, object_target) in zip(plain, world, strict=True):
        assert "parts" not in target
        assert target["label"] == object_target["label"]
        part, mask = object_target["parts"][0], object_target["masks"][0]
        assert not (part & ~mask).any()
        shares.append(float(part.sum() / mask.sum()))
        growth.append(float((mask.sum() / target["masks"][0].sum()).sqrt()))
    assert min(shares) > 0.05
    assert max(shares) < 0.45
    assert np.median(growth) == pytest.approx(1.4, abs=0.03)


def test_the_same_picture_at_every_size():
    worlds = {size: lab.StickerWorld("test", size=size, length=8) for size in (48, 64, 96, 192)}
    for i in range(8):
        seen = {size: world[i] for size, world in worlds.items()}
        pictures, boxes = {}, {}
        for size, (image, target) in seen.items():
            assert image.shape == (3, size, size)
            pictures[size] = v2.functional.resize(image.float(), [48, 48], antialias=True)
            boxes[size] = target["boxes"] * 96 / size
            assert target["label"] == seen[96][1]["label"]
        other = v2.functional.resize(worlds[96][(i + 1) % 8][0].float(), [48, 48], antialias=True)
        for size in (48, 64, 192):
            gap = (pictures[size] - pictures[96]).abs().mean()
            assert gap < 10
            assert gap < 0.4 * (other - pictures[96]).abs().mean()
            assert (boxes[size] - boxes[96]).abs().max() <= 2


# ---- errors ----


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"split": "tests"}, "no split 'tests': did you mean \"test\""),
        ({"split": None}, "no split None"),
        ({"split": "xyz"}, r"there are: train, valid, test"),
        ({"shortcut": "conrer"}, "no shortcut 'conrer': did you mean \"corner\""),
        ({"shortcut": True}, "there are: background, corner"),
        ({"size": 31}, "size is 31, expected a whole number from 32 on"),
        ({"size": 96.0}, "size is 96.0"),
        ({"seed": -1}, "seed is -1, expected a whole number from 0 on"),
        ({"length": 0}, "length is 0, expected a whole number from 1 on"),
        ({"instances": 0}, "instances is 0, expected a whole number from 1 to 6, or a range"),
        ({"instances": 7}, "instances is 7"),
        ({"instances": (3, 2)}, r"instances is \(3, 2\)"),
        ({"instances": (1, 2.5)}, r"instances is \(1, 2.5\)"),
        ({"instances": "two"}, "instances is 'two'"),
        ({"object_size": 0.05}, r"object_size is 0.05, expected a number from 0.1 to 0.9, or a r"),
        ({"object_size": (0.05, 0.5)}, r"object_size is \(0.05, 0.5\)"),
        ({"object_size": (0.5, 0.95)}, r"object_size is \(0.5, 0.95\)"),
        ({"object_size": (0.5, 0.3)}, r"object_size is \(0.5, 0.3\), .* a range \(low, high\)"),
        ({"object_size": (0.3, 0.4, 0.5)}, "object_size is"),
        ({"shortcut": "corner", "shortcut_probability": 95}, "is 95, expected a probability"),
        ({"shortcut": "corner", "shortcut_probability": "x"}, "is 'x', expected a probability"),
        ({"shortcut_probability": 0.5}, "with a shortcut beside it: one of background, corner"),
    ],
)
def test_arguments_that_cannot_be(arguments, says):
    with pytest.raises(ValueError, match=says):
        lab.StickerWorld(**{"split": "test", **arguments})
