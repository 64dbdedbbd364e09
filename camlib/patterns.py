"""Pictures whose content is known piece by piece, for section 4.2 of the paper.

`scenes` are pictures with several stickers, whose category is told by which motifs are there;
`concepts` are pictures with two motifs, one on the other or not; `patched` are photographs with
two patches pasted on, of which one may hold text or a face. Nothing in them is labelled but yes or
no; where everything lies is known all the same, to score the maps.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import matplotlib
import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from torch import Tensor
from tqdm.auto import tqdm

from camlib import boxes
from camlib.lab import CLASSES, UNIT, StickerWorld

CATEGORIES = ("north", "east", "south", "west")
# What a motif may be to the categories, and how probable it is in them: where it belongs, and in
# all others. Two motifs are everywhere; each category has one that is common in it and one that is
# rare, both nowhere else; two categories share one; four turn up now and then in any.
KINDS = {
    "everywhere": (0.8, 0.8),
    "own, common": (0.7, 0.0),
    "own, rare": (0.25, 0.0),
    "shared by two": (0.5, 0.0),
    "now and then": (0.15, 0.15),
}
# A sticker on another is small, so the same motif elsewhere has to be: its size must not tell.
SMALL = (0.14, 0.27)
CONCEPTS = ("on", "apart", "first only", "second only", "neither")
DECOYS = ("blank", "strokes", "scrambled")
# No one in these has a face, and nothing in them is written. No photograph serves two splits.
SOURCES = {
    "train": ("china", "coffee", "hubble"),
    "valid": ("chelsea", "rocket"),
    "test": ("flower", "retina", "brick"),
}
FONTS = {
    "train": ("DejaVuSans", "DejaVuSerif-Bold", "DejaVuSansMono"),
    "valid": ("DejaVuSans-Oblique", "DejaVuSerif-Italic"),
    "test": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic"),
}
WORDS = {
    "train": (
        *("bakery", "market", "garage", "museum", "station", "library", "office", "cinema"),
        *("pharmacy", "gallery", "tailor", "hotel", "florist", "butcher", "school", "harbour"),
    ),
    "valid": ("kitchen", "journal", "window", "number", "street", "bridge", "castle", "village"),
    "test": ("coffee", "borders", "science", "winter", "summer", "travel", "island", "railway"),
}
DIGITS = {"train": (0, 1000), "valid": (1000, 1300), "test": (1300, 1797)}
FACES = {"train": (0, 60), "valid": (60, 75), "test": (75, 100)}  # of faces, and of what is none

_SPLITS = {"train": 0, "valid": 1, "test": 2}  # in the seeds
_Rng = np.random.Generator
_Pixels = NDArray[Any]


class Scenes(NamedTuple):
    """Pictures of several stickers.

    Attributes:
        images: uint8 (n, 3, h, w).
        labels: which category, or which of `CONCEPTS`, (n,) int64.
        where: the motif that is seen at each pixel, an index into `lab.CLASSES`, or -1,
            int8 (n, h, w).
    """

    images: Tensor
    labels: Tensor
    where: Tensor

    @property
    def motifs(self) -> Tensor:
        """Which motifs are there, bool (n, 16)."""
        places = self.where.flatten(1)
        return torch.stack([(places == m).any(dim=1) for m in range(len(CLASSES))], dim=1)


class _Inside(StickerWorld):
    """Sticks a smaller sticker on the last one, and not beside it."""

    def _place(self, rng: _Rng, placed: list[Any], largest: float) -> Any:
        x, y, radius = placed[-1]
        angle, share = 2 * np.pi * rng.random(), rng.uniform(0.4, 0.5)
        out = (0.7 - share) * radius * rng.random()
        return x + out * np.cos(angle), y + out * np.sin(angle), share * radius


class _Composer(StickerWorld):
    """The sticker world, with the stickers that are asked for."""

    def compose(self, i: int, stickers: Sequence[tuple[int, str]]) -> tuple[Any, Any]:
        """Picture i with these stickers.

        Args:
            i: which picture.
            stickers: a motif, and "large", "small", or "on": a small one on the last sticker.

        Returns:
            Image uint8 (3, size, size), and the motif at each pixel or -1, int8 (size, size).
        """
        background, scraps, rng = (
            np.random.default_rng([self.seed, _SPLITS[self.split], i, k]) for k in range(3)
        )
        canvas = self._background(background)
        shadow = self._shadow(2 * np.pi * scraps.random(), scraps.uniform(0.2, 0.45))
        lay = functools.partial(self._lay, canvas, shadow)
        for _ in range(scraps.integers(1, 4)):
            radius, at = UNIT / 2 * scraps.uniform(0.12, 0.3), scraps.uniform(0, UNIT, 2)
            outline = at + radius * np.exp(2j * np.pi * np.arange(5) / 5).view(float).reshape(-1, 2)
            paper = scraps.uniform(0, 255, (3, 1, 1)).astype(np.float32)
            lay(*self._piece(outline), paper)
        where = np.full((self.size, self.size), -1, np.int8)
        placed: list[Any] = []
        worlds = {
            "large": self,
            "small": StickerWorld(self.split, self.size, object_size=SMALL),
            "on": _Inside(self.split, self.size),
        }
        for n, (m, kind) in enumerate(stickers):
            sticker = np.random.default_rng([self.seed, _SPLITS[self.split], i, 3 + n])
            mask, _ = worlds[kind]._stick(lay, self.motifs[CLASSES[m]], sticker, placed, UNIT * 0.3)
            where[mask] = m
        return self._photograph(canvas, rng, background), where


def composition(seed: int = 0) -> tuple[Tensor, list[str]]:
    """How probable each motif is in each category, and what kind of motif it is.

    Which motif plays which part is drawn.

    Returns:
        Probabilities (4, 16); for each of the 16 motifs one of `KINDS`.
    """
    order = np.random.default_rng(seed).permutation(len(CLASSES))
    homes: list[tuple[str, tuple[int, ...]]] = [("everywhere", ())] * 2
    homes += [(kind, (c,)) for kind in ("own, common", "own, rare") for c in range(4)]
    homes += [("shared by two", (0, 1)), ("shared by two", (2, 3))]
    homes += [("now and then", ())] * 4
    chances, kinds = torch.zeros(4, len(CLASSES)), [""] * len(CLASSES)
    for m, (kind, home) in zip(order.tolist(), homes, strict=True):
        own, other = KINDS[kind]
        chances[:, m] = other
        chances[list(home), m] = own
        kinds[m] = kind
    return chances, kinds


def scenes(split: str, length: int, seed: int = 0) -> Scenes:
    """Pictures of the four `CATEGORIES` in turn, 96 x 96, with stickers as `composition` says.

    A picture has at least two motifs: it is drawn again otherwise.

    Args:
        split: "train", "valid" or "test", each with photographs of its own.
        length: how many pictures.
        seed: of the pictures and of the composition.
    """
    chances = composition(seed)[0].numpy()
    world = _Composer(split, seed=1000 + seed, object_size=(0.3, 0.45))
    made = []
    for i in tqdm(range(length), desc=f"scenes, {split}", delay=2, leave=False):
        rng = np.random.default_rng([seed, _SPLITS[split], i, 99])
        there: Any = []
        while len(there) < 2:
            there = np.flatnonzero(rng.random(len(CLASSES)) < chances[i % 4])
        stickers = [(m, "large") for m in rng.permutation(there).tolist()]
        made.append((*world.compose(i, stickers), i % 4))
    return _stacked(made)


def covered(maps: Tensor, where: Tensor, share: float = 0.5) -> Tensor:
    """How much of each motif lies in the high region of a map: above a share of its maximum.

    Args:
        maps: at image size, (n, h, w).
        where: as in `Scenes`, (n, h, w).
        share: of each map's maximum.

    Returns:
        For each picture and motif the share of its visible pixels, (n, 16); NaN where it is not.
    """
    high = boxes.above("covered", maps, share)
    of_motif = [where == m for m in range(len(CLASSES))]
    shares = [(high & mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)) for mask in of_motif]
    return torch.stack(shares, dim=1)


def hard_negatives(scores: Tensor, used: Tensor, number: int) -> Tensor:
    """The negatives with the highest scores among those that are not used yet, int64 (number,).

    Args:
        scores: of all negatives, (n,); none of them shows the concept.
        used: which are used already, indices (m,).
        number: how many to add.
    """
    free = scores.clone()
    free[used] = -torch.inf
    return free.topk(number).indices


def concepts(split: str, kinds: Sequence[str], first: str, second: str, seed: int = 0) -> Scenes:
    """Pictures of the concept "the first motif on the second", and of what it is mistaken for.

    Besides them each picture has one or two stickers with other motifs.

    Args:
        split: as in `scenes`.
        kinds: for each picture one of `CONCEPTS`: both, one on the other or apart; one; neither.
        first, second: names of motifs.
        seed: of the pictures.

    Raises:
        ValueError: for another kind.
    """
    a, b = CLASSES.index(first), CLASSES.index(second)
    rest = [m for m in range(len(CLASSES)) if m not in (a, b)]
    world = _Composer(split, seed=2000 + seed, object_size=(0.4, 0.6))
    stickers = {
        "on": [(b, "large"), (a, "on")],
        "apart": [(b, "large"), (a, "small")],
        "first only": [(a, "small")],
        "second only": [(b, "large")],
        "neither": [],
    }
    made = []
    for i, kind in enumerate(tqdm(kinds, desc=f"concepts, {split}", delay=2, leave=False)):
        if kind not in stickers:
            raise ValueError(f"concepts: kind is {kind!r}, expected one of {', '.join(CONCEPTS)}")
        rng = np.random.default_rng([seed, _SPLITS[split], i, 98])
        others = rng.choice(rest, int(rng.integers(1, 3)), replace=False).tolist()
        pieces = [*((m, "large") for m in others), *stickers[kind]]
        made.append((*world.compose(i, pieces), CONCEPTS.index(kind)))
    return _stacked(made)


def _stacked(made: list[tuple[Any, Any, int]]) -> Scenes:
    images, where, labels = zip(*made, strict=True)
    return Scenes(
        torch.from_numpy(np.stack(images)),
        torch.tensor(labels),
        torch.from_numpy(np.stack(where)),
    )


# ---- text and faces ----


class Patched(NamedTuple):
    """Photographs with patches pasted on, n of each kind; those of one row belong together.

    Attributes:
        positive: one patch with a text or a face, and one decoy, uint8 (n, 3, h, w).
        negative: the same photograph and places, with two decoys.
        bare: the same photograph without a patch.
        masks: where the text or face patch is in `positive`, bool (n, h, w).
        others: where the decoy is in `positive`, bool (n, h, w).
        kinds: of the decoys, n pairs; the first lies beside the text or face, the second in its
            place.
        sources: the photograph, n names.
    """

    positive: Tensor
    negative: Tensor
    bare: Tensor
    masks: Tensor
    others: Tensor
    kinds: list[tuple[str, str]]
    sources: list[str]


class _Photographs(StickerWorld):
    """Crops of the photographs without text and faces."""

    def crop(self, rng: _Rng, name: str) -> _Pixels:
        self.sources = (name,)
        return self._background(rng)


def patched(what: str, split: str, length: int, seed: int = 0, size: int = 224) -> Patched:
    """Photographs with two patches, for a detector that is only told whether there is text or not.

    A text is a rendered word, or digits written by hand; its decoys are papers of the same kind
    that are blank, or hold strokes, or a text cut into squares and shuffled. Faces and their
    decoys are scikit-image's `lfw_subset`, 25 x 25 pixels, enlarged: not to be shown in a figure,
    for its licence is not stated. Photographs, words, fonts, digits and faces of two splits
    differ.

    Args:
        what: "text" or "face".
        split: "train", "valid" or "test".
        length: how many of each kind.
        seed: of the pictures.
        size: side of a picture.

    Raises:
        ValueError: for another `what`.
    """
    if what not in ("text", "face"):
        raise ValueError(f'patched: what is {what!r}, expected "text" or "face"')
    world = _Photographs(split, size)
    rows = []
    for i in tqdm(range(length), desc=f"{what}, {split}", delay=2, leave=False):
        rng = np.random.default_rng([seed, _SPLITS[split], i, 97])
        name = SOURCES[split][rng.integers(len(SOURCES[split]))]
        bare = world.crop(rng, name)
        if what == "text":
            kinds = tuple(DECOYS[k] for k in rng.integers(len(DECOYS), size=2))
            patches = _text_patches(rng, split, kinds)
        else:
            kinds, patches = ("other", "other"), _face_patches(rng, split)
        corners = _corners(rng, [p.shape[:2] for p in patches[:2]], size)
        with_it, without, masks = bare.copy(), bare.copy(), np.zeros((2, size, size), bool)
        for canvas, pair in ((with_it, patches[:2]), (without, (patches[2], patches[1]))):
            for mask, patch, (x, y) in zip(masks, pair, corners, strict=True):
                h, w = patch.shape[:2]
                canvas[:, y : y + h, x : x + w] = patch.transpose(2, 0, 1)
                mask[y : y + h, x : x + w] = True
        noise = rng.normal(0, 4, bare.shape)
        pictures = [_finished(canvas, noise) for canvas in (with_it, without, bare)]
        rows.append((*pictures, *masks, kinds, name))
    *stacks, pairs, sources = zip(*rows, strict=True)
    one, two, none, of_it, of_other = (torch.from_numpy(np.stack(stack)) for stack in stacks)
    return Patched(one, two, none, of_it, of_other, list(pairs), list(sources))


def _finished(canvas: _Pixels, noise: _Pixels) -> NDArray[np.uint8]:
    """A little blur and noise over all, so that what was pasted has the grain of the rest."""
    soft = np.stack([cv2.GaussianBlur(plane, (0, 0), 0.8) for plane in canvas])
    finished: NDArray[np.uint8] = np.clip(np.rint(soft + noise), 0, 255).astype(np.uint8)
    return finished


def _corners(rng: _Rng, shapes: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Left, upper corners (x, y) of two patches that do not meet."""
    while True:
        (x0, y0), (x1, y1) = (
            (int(rng.integers(4, size - w - 4)), int(rng.integers(4, size - h - 4)))
            for h, w in shapes
        )
        (h0, w0), (h1, w1) = shapes
        if x0 + w0 < x1 or x1 + w1 < x0 or y0 + h0 < y1 or y1 + h1 < y0:
            return [(x0, y0), (x1, y1)]


def _text_patches(rng: _Rng, split: str, kinds: Sequence[str]) -> list[_Pixels]:
    """A text, the decoy beside it, and the decoy that takes its place, (h, w, 3) each."""
    ink = _written(rng, split)
    beside, instead = (_decoy(rng, split, kind) for kind in kinds)
    instead = cv2.resize(instead, (ink.shape[1], ink.shape[0]), interpolation=cv2.INTER_AREA)
    patches = []
    for print_ in (ink, beside):
        colours = rng.uniform(10, 245, (2, 3))
        while abs((colours[0] - colours[1]) @ (0.3, 0.59, 0.11)) < 70:
            colours = rng.uniform(10, 245, (2, 3))
        patches.append(colours[0] + print_[:, :, None] * (colours[1] - colours[0]))
        if print_ is ink:
            other = colours[0] + instead[:, :, None] * (colours[1] - colours[0])
    return [*patches, other]


def _written(rng: _Rng, split: str) -> _Pixels:
    """Ink, 0 to 1, of a word or of digits written by hand, (h, w), with a margin."""
    height = int(rng.integers(24, 44))
    if rng.random() < 0.5:
        low, high = DIGITS[split]
        digits = _digits()[rng.integers(low, high, int(rng.integers(3, 6)))]
        row = np.concatenate(list(digits), axis=1)
        ink = cv2.resize(
            row, (round(row.shape[1] / 8 * height), height), interpolation=cv2.INTER_CUBIC
        )
    else:
        word = WORDS[split][rng.integers(len(WORDS[split]))]
        word = [word, word.capitalize(), word.upper()][rng.integers(3)]
        font = _font(FONTS[split][rng.integers(len(FONTS[split]))], round(0.8 * height))
        left, top, right, bottom = font.getbbox(word)
        drawn = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(drawn).text((1 - left, 1 - top), word, 255, font)
        ink = np.asarray(drawn, np.float32) / 255
    margin = height // 5
    # The longest words fill two thirds of a picture, and are narrowed to that.
    wide = min(ink.shape[1], 150)
    ink = cv2.resize(ink, (wide, ink.shape[0]), interpolation=cv2.INTER_AREA)
    return np.pad(np.clip(ink, 0, 1), margin)


def _decoy(rng: _Rng, split: str, kind: str) -> _Pixels:
    """Ink of a paper without a text, of a text's size, (h, w)."""
    ink = _written(rng, split)
    if kind == "blank":
        return np.zeros_like(ink)
    if kind == "scrambled":  # squares of a third of the height, shuffled and turned
        side = max(6, ink.shape[0] // 3)
        rows, columns = ink.shape[0] // side, ink.shape[1] // side
        grid = ink[: rows * side, : columns * side].reshape(rows, side, columns, side)
        squares = grid.swapaxes(1, 2).reshape(-1, side, side)[rng.permutation(rows * columns)]
        squares = np.stack([np.rot90(s, int(rng.integers(4))) for s in squares])
        return squares.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, -1)
    strokes = np.zeros(ink.shape, np.uint8)
    h, w = ink.shape
    for _ in range(max(3, w // 14)):
        at = rng.uniform((0.15 * w, 0.2 * h), (0.85 * w, 0.8 * h))
        angle, length = rng.uniform(0, np.pi), rng.uniform(0.2, 0.6) * h
        bend = rng.uniform(-0.3, 0.3) * length
        along = np.array([np.cos(angle), np.sin(angle)])
        t = np.linspace(-0.5, 0.5, 9)[:, None]
        line = at + t * length * along + bend * (1 - 4 * t**2) * along[::-1] * (1, -1)
        points = np.rint(line * 16).astype(np.int32)
        cv2.polylines(strokes, [points], False, 255, max(1, h // 16), cv2.LINE_AA, 4)
    return strokes.astype(np.float32) / 255


def _face_patches(rng: _Rng, split: str) -> list[_Pixels]:
    """A face, what is none beside it, and what is none in its place, (s, s, 3) each."""
    low, high = FACES[split]
    crops = _crops()
    numbers = rng.integers(low, high, 3)
    chosen = crops[numbers[0]], crops[100 + numbers[1]], crops[100 + numbers[2]]
    sides = rng.integers(56, 90, 2)
    patches = []
    for crop, side in zip(chosen, (sides[0], sides[1], sides[0]), strict=True):
        large = cv2.resize(crop, (int(side), int(side)), interpolation=cv2.INTER_CUBIC)
        patches.append(np.repeat(255 * large[:, :, None], 3, axis=2).clip(0, 255))
    return patches


@functools.cache
def _digits() -> _Pixels:
    images: _Pixels = load_digits().images.astype(np.float32) / 16
    return images


@functools.cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf", size)


@functools.cache
def _crops() -> _Pixels:
    crops: _Pixels = skimage.data.lfw_subset().astype(np.float32)  # type: ignore[no-untyped-call]
    # What is no face is darker and flatter, and that alone would tell: the same mean and spread.
    mean, spread = (f(crops, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    even: _Pixels = (0.5 + 0.22 * (crops - mean) / np.maximum(spread, 0.03)).clip(0, 1)
    return even
