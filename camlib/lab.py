"""The sticker world: made pictures of which every pixel's truth is known.

A class is a motif, printed in two random colours on a sticker of any outline, stuck on a crop of a
real photograph among scraps of plain paper. Colours, outline, place, size, angle and background
are drawn independently of the class, so nothing but the motif tells it.

Lengths inside this file are in pixels of a picture with a side of 96 (`UNIT`), so that a picture
has the same content at every size.
"""

import colorsys
import functools
import hashlib
import operator
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes
from tqdm.auto import tqdm

from camlib import photos

# Raise it whenever the pictures change: networks trained on the old ones are stale then.
VERSION = 1

LENGTHS = {"train": 8000, "valid": 2000, "test": 2000}
# No photograph serves two splits; each split has busy ones and plain ones.
SOURCES = {
    "train": ("astronaut", "camera", "china", "coffee", "hubble"),
    "valid": ("chelsea", "rocket"),
    "test": ("flower", "grace_hopper", "retina"),
}
SHORTCUTS = ("background", "corner")
# The mark in a corner: its centre's distance from both sides, radius of its black outline, of its
# colour. Without an outline it is one more scrap of paper, and a network with average pooling does
# not learn to read it.
BADGE = (12.0, 10.0, 7.5)
UNIT = 96.0

_SOURCE_SIDE = 360  # photographs are kept with this shorter side, enough for every crop
_FINE = 2  # motifs are drawn this many times finer than the picture
_MARGIN = 5.0  # room for a shadow around a piece of paper
_PART_SCALE = 1.4  # objects with a telling part are larger than stickers by this factor,
_PART_SHARE = 0.45  # and their part has this share of their diameter
_CIRCLE = np.exp(2j * np.pi * np.arange(64) / 64)
_WAVES = _CIRCLE[:, None] ** (2, 3, 4, 5)
_Field = NDArray[Any]  # float32
_Rng = np.random.Generator
_Disc = tuple[float, float, float]  # x, y, radius
_Shadow = tuple[NDArray[Any], NDArray[Any]]  # kernels across and down
_Mask = NDArray[np.bool_]
_Motif = Callable[[_Field, _Field], _Field]
_Lay = Callable[..., None]  # of a piece of paper on the canvas, see StickerWorld._lay


# ---- motifs: height fields (h, w) over sticker coordinates u, v; low is ink ----
# In float32 throughout: a Python number beside an array does not widen it.


def _cell(x: _Field, period: float) -> _Field:
    """The distance to the nearest multiple of `period`, with its sign; `_gap` is without."""
    signed: _Field = x - period * np.rint(x * (1 / period))
    return signed


def _gap(x: _Field, period: float) -> _Field:
    return np.abs(_cell(x, period))


def _alternating(width: float, *axes: _Field) -> _Field:
    """Fields of two colours, which change at every line of every axis, `width` apart."""
    waves = np.stack([_gap(x - width / 2, 2 * width) - width / 2 for x in axes])
    field: _Field = np.prod(np.sign(waves), axis=0) * np.abs(waves).min(axis=0)
    return field


def _hexagonal(u: _Field, v: _Field, wide: float) -> tuple[_Field, _Field]:
    """From the nearest point of a lattice of triangles with sides `wide`."""
    high = wide * 3**0.5
    a = _cell(u, wide), _cell(v, high)
    b = _cell(u - wide / 2, wide), _cell(v - high / 2, high)
    nearer = np.square(a[0]) + np.square(a[1]) < np.square(b[0]) + np.square(b[1])
    return np.where(nearer, a[0], b[0]), np.where(nearer, a[1], b[1])


def _honeycomb(u: _Field, v: _Field) -> _Field:
    x, y = map(np.abs, _hexagonal(u, v, 11.5))
    field: _Field = -np.maximum(x, x * 0.5 + y * 0.75**0.5)
    return field


def _scales(u: _Field, v: _Field) -> _Field:
    radius, step = 7.5, 5.0
    lowest = np.ceil((v - radius) / step)
    depth = np.full_like(u, -1)
    for row in (lowest + 2, lowest + 1, lowest):  # the last one lies on top
        across = _cell(u + radius * row, 2 * radius)
        inside = radius - np.hypot(across, v - step * row)
        depth = np.where(inside > 0, inside, depth)
    return depth.astype(np.float32)


def _crosses(u: _Field, v: _Field) -> _Field:
    x, y = _gap(u, 13), _gap(v, 13)
    return np.minimum(np.maximum(x - 3.2, y), np.maximum(y - 3.2, x))


def _stars(u: _Field, v: _Field) -> _Field:
    x, y = _hexagonal(u, v, 14.5)
    field: _Field = np.hypot(x, y) * (1 + 0.33 * np.cos(5 * np.arctan2(y, x)))
    return field


# Near twins stand side by side.
_MOTIFS: dict[str, _Motif] = {
    "stripes": lambda u, v: _gap(u, 10),
    "fine stripes": lambda u, v: _gap(u, 6),
    "checks": lambda u, v: _alternating(7.5, u, v),
    "fine checks": lambda u, v: _alternating(4.5, u, v),
    "dots": lambda u, v: np.hypot(_cell(u, 11), _cell(v, 11)),
    "rings": lambda u, v: np.abs(np.hypot(_cell(u, 11), _cell(v, 11)) - 3.4),
    "zigzags": lambda u, v: _gap(v + _gap(u, 14), 12) * 0.7,
    "waves": lambda u, v: _gap(v + 3 * np.sin(u * (2 * np.pi / 16)), 11),
    "grid": lambda u, v: -np.maximum(_gap(u, 10.5), _gap(v, 10.5)),
    "bricks": lambda u, v: (
        -np.maximum(_gap(u + 6.5 * np.rint(v / 8.5), 13) - 6.5, _gap(v, 8.5) - 4.25)
    ),
    "dashes": lambda u, v: np.hypot(
        np.maximum(_gap(u + 9 * np.rint(v / 7.5), 18) - 4.5, 0), _cell(v, 7.5)
    ),
    "honeycomb": _honeycomb,
    "triangles": lambda u, v: _alternating(9, u, v * 0.75**0.5 - u * 0.5, -v * 0.75**0.5 - u * 0.5),
    "scales": _scales,
    "crosses": _crosses,
    "stars": _stars,
}
CLASSES = tuple(_MOTIFS)


def _crescents(u: _Field, v: _Field) -> _Field:
    x, y = _cell(u, 12), _cell(v, 12)
    return np.maximum(np.hypot(x, y), 6.6 - np.hypot(x - 2.6, y))


def _weave(u: _Field, v: _Field) -> _Field:
    odd = np.mod(np.floor(u / 12) + np.floor(v / 12), 2) > 0.5
    return _gap(np.where(odd, u, v) - 2, 4)  # three threads to each square, along it or across


def _ladders(u: _Field, v: _Field) -> _Field:
    x = np.abs(_cell(u, 16))
    return np.where(x < 4.5, np.minimum(np.abs(x - 4.5), _gap(v, 7)), x - 4.5)


def _chains(u: _Field, v: _Field) -> _Field:
    a = np.abs(np.hypot(_cell(u, 13), _cell(v, 13)) - 4.8)
    b = np.abs(np.hypot(_cell(u - 6.5, 13), _cell(v, 13)) - 4.8)
    return np.minimum(a, b)


def _grains(u: _Field, v: _Field) -> _Field:
    a = np.hypot(_cell(u, 12), 2.2 * _cell(v, 12))
    b = np.hypot(2.2 * _cell(u - 6, 12), _cell(v - 6, 12))
    return np.minimum(a, b)


# For tasks that come after the training: no network that ships has seen these.
_NEW_MOTIFS: dict[str, _Motif] = {
    "frames": lambda u, v: np.abs(np.maximum(_gap(u, 12), _gap(v, 12)) - 3.6),
    "crescents": _crescents,
    "weave": _weave,
    "double stripes": lambda u, v: np.abs(_gap(u, 13) - 2.4),
    "ladders": _ladders,
    "targets": lambda u, v: _gap(np.hypot(_cell(u, 19), _cell(v, 19)), 6.5),
    "chains": _chains,
    "grains": _grains,
}
NEW_CLASSES = tuple(_NEW_MOTIFS)


# ---- the world ----


class StickerWorld(Dataset[tuple[tv_tensors.Image, dict[str, Any]]]):
    """Pictures of stickers on photographs, made when they are asked for.

    Picture i depends on the seed, the split and i alone (and on the knobs), not on the length; a
    knob changes what it is about and nothing else in the picture.

    Args:
        split: "train", "valid" or "test"; each has photographs of its own (`SOURCES`).
        size: side of the pictures in pixels, at least 32.
        seed: another seed is another world.
        length: number of pictures; without it that of `LENGTHS`.
        instances: stickers of the picture's class, a number from 1 to 6 or a range (low, high).
        second_class: one more sticker, of another class.
        object_size: a sticker's diameter as share of the side, a number from 0.1 to 0.9 or a range
            (low, high). Of several, none is larger than 0.6; one that finds no room is smaller.
        shortcut: "background" tints the photograph with a hue that belongs to the class;
            "corner" puts a badge of that hue, with a black outline, into a corner; None.
        shortcut_probability: how often the hue is that of the class. Otherwise it is that of a
            class drawn at random, the right one included.
        parts: objects 1.4 times larger (up to 0.94 of the side), speckled alike in all classes;
            the motif is on one small part of them only.
        new_motifs: the classes are `NEW_CLASSES`, in place of `CLASSES`; no shortcut then.

    `world[i]` is (image, target): image uint8 (3, size, size); target a dict with

        label   int, index into `classes`
        labels  (n,) int64, class of each instance, those of the picture's class first
        boxes   (n, 4) float32, tight around the masks: (x0, y0, x1, y1), half-open pixels
        masks   (n, size, size) bool, disjoint
        parts   (n, size, size) bool, only with parts=True: where the motif is
        hint    int, only with a shortcut: the class whose hue it has

    Raises:
        ValueError: for an argument outside of what is said here.
        IndexError: for a picture beyond the length.
    """

    def __init__(
        self,
        split: str,
        size: int = 96,
        seed: int = 0,
        length: int | None = None,
        *,
        instances: int | tuple[int, int] = 1,
        second_class: bool = False,
        object_size: float | tuple[float, float] = (0.35, 0.75),
        shortcut: str | None = None,
        shortcut_probability: float = 1.0,
        parts: bool = False,
        new_motifs: bool = False,
    ) -> None:
        for name, given, known in (
            ("split", split, tuple(LENGTHS)),
            ("shortcut", shortcut, (None, *SHORTCUTS)),
        ):
            if given not in known:
                hint = photos.did_you_mean(str(given), filter(None, known))
                raise ValueError(f"StickerWorld: there is no {name} {given!r}{hint}")
        length = LENGTHS[split] if length is None else length
        for name, number, least in (("size", size, 32), ("seed", seed, 0), ("length", length, 1)):
            if not isinstance(number, int) or number < least:
                raise ValueError(
                    f"StickerWorld: {name} is {number!r}, expected a whole number from {least} on"
                )
        chance = shortcut_probability
        if not isinstance(chance, int | float) or not (0 if shortcut else 1) <= chance <= 1:
            raise ValueError(
                f"StickerWorld: shortcut_probability is {chance!r}, expected a probability, 0 to "
                f"1, with a shortcut beside it: one of {', '.join(SHORTCUTS)}"
            )
        if new_motifs and shortcut:
            raise ValueError("StickerWorld: no shortcut has hues for new motifs, use one or none")
        self.new_motifs = new_motifs
        self.motifs = _NEW_MOTIFS if new_motifs else _MOTIFS
        self.classes = tuple(self.motifs)
        self.split, self.size, self.seed, self.length = split, size, seed, length
        self.sources = SOURCES[split]
        self.instances = _range("instances", instances, int, 1, 6)
        self.object_size = _range("object_size", object_size, float, 0.1, 0.9)
        self.second_class, self.parts = second_class, parts
        self.shortcut, self.shortcut_probability = shortcut, shortcut_probability

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> tuple[tv_tensors.Image, dict[str, Any]]:
        image, labels, masks, parts, hint = self._make(i)
        stacked = torch.from_numpy(np.stack(masks))
        boxes = masks_to_boxes(stacked) + torch.tensor([0, 0, 1, 1])  # their last pixel included
        target = {
            "label": labels[0],
            "labels": torch.tensor(labels),
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=image.shape[1:]),
            "masks": tv_tensors.Mask(stacked),
        }
        if self.parts:
            target["parts"] = tv_tensors.Mask(torch.from_numpy(np.stack(parts)))
        if self.shortcut:
            target["hint"] = hint
        return tv_tensors.Image(torch.from_numpy(image)), target

    def tensors(self, indices: Iterable[int] | None = None) -> tuple[Tensor, Tensor]:
        """All pictures, or those of some indices, in memory: made once, to train on.

        Returns:
            Images, uint8 (n, 3, size, size), and labels, int64 (n,).
        """
        wanted = list(range(self.length) if indices is None else indices)
        images = torch.empty(len(wanted), 3, self.size, self.size, dtype=torch.uint8)
        labels = torch.empty(len(wanted), dtype=torch.int64)
        for n, i in enumerate(tqdm(wanted, desc=f"stickers, {self.split}", delay=2)):
            image, of_stickers, *_ = self._make(i)
            images[n] = torch.from_numpy(image)
            labels[n] = of_stickers[0]
        return images, labels

    def _make(self, i: int) -> tuple[NDArray[np.uint8], list[int], list[Any], list[Any], int]:
        """Picture i, uint8 (3, size, size); of its stickers classes, masks, parts; the hint."""
        i = operator.index(i)
        if not 0 <= i < self.length:
            raise IndexError(f"StickerWorld: there is no picture {i}, the length is {self.length}")
        # Streams of their own for the parts of the picture, and draws that do not depend on the
        # knobs within a stream, so that a knob leaves the rest of the picture as it is.
        origin = [self.seed, list(LENGTHS).index(self.split), i]
        rng, background, scraps = (np.random.default_rng([*origin, k]) for k in range(3))
        label, other, hint = (int(c) for c in rng.integers(len(self.classes), size=3))
        second = (label + 1 + other % (len(self.classes) - 1)) % len(self.classes)
        chance, number, angle, strength = rng.random(4)
        corner = rng.integers(2, size=2)
        if chance < self.shortcut_probability:
            hint = label

        canvas = self._background(background)
        if self.shortcut == "background":
            canvas = 0.4 * canvas + (0.75 * canvas.mean(axis=0) + 25) * _hue(hint)
        shadow = self._shadow(2 * np.pi * angle, 0.2 + 0.25 * strength)
        lay = functools.partial(self._lay, canvas, shadow)
        for _ in range(scraps.integers(2, 7)):
            radius, at = UNIT / 2 * scraps.uniform(0.12, 0.6), scraps.uniform(0, UNIT, 2)
            paper = scraps.uniform(0, 255, (3, 1, 1)).astype(np.float32)
            lay(*self._piece(at + radius * _outline(scraps)), paper)
        if self.shortcut == "corner":
            inwards, outline, disc = BADGE
            centre = UNIT * corner - inwards * (2.0 * corner - 1)
            lay(
                *self._piece(centre + outline * _points(_CIRCLE)),
                np.full((3, 1, 1), 15.0, np.float32),
            )
            lay(*self._piece(centre + disc * _points(_CIRCLE)), 240 * _hue(hint))

        low, high = self.instances
        labels = [label] * (low + int(number * (high + 1 - low)))
        streams = list(range(3, 3 + len(labels)))
        if self.second_class:
            labels, streams = [*labels, second], [*streams, 9]
        largest = UNIT * (0.47 if len(labels) == 1 else 0.3)
        placed: list[_Disc] = []
        masks, parts = [], []
        for name, stream in zip(labels, streams, strict=True):
            sticker = np.random.default_rng([*origin, stream])
            mask, part = self._stick(lay, self.motifs[self.classes[name]], sticker, placed, largest)
            masks.append(mask)
            parts.append(part)
        return self._photograph(canvas, rng, background), labels, masks, parts, hint

    def _background(self, rng: _Rng) -> _Field:
        """A crop of one of the split's photographs, its colours changed, (3, size, size)."""
        photo = _photo(self.sources[rng.integers(len(self.sources))])
        side = min(photo.size) * rng.uniform(0.3, 0.9)
        x, y = (rng.uniform(0, length - side) for length in photo.size)
        crop = photo.resize(
            (self.size, self.size), Image.Resampling.BILINEAR, (x, y, x + side, y + side)
        )
        pixels = np.rot90(np.asarray(crop), int(rng.integers(4)))
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        gain, offset = rng.uniform(0.7, 1.3, (3, 1, 1)), rng.uniform(-25, 25, (3, 1, 1))
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[rng.permutation(3)], np.float32)
        return planes * gain.astype(np.float32) + offset.astype(np.float32)

    def _piece(self, outline: NDArray[Any], fine: int = 1) -> tuple[int, int, _Field]:
        """The left, upper corner of a patch around an outline, and its cover, 0 to 1, (h, w).

        Args:
            outline: (n, 2), x and y.
            fine: samples of the patch per pixel; corner and margin stay in whole pixels.
        """
        scale = self.size / UNIT
        x0, y0 = (int(c) for c in np.floor((outline.min(axis=0) - _MARGIN) * scale))
        x1, y1 = (int(c) for c in np.ceil((outline.max(axis=0) + _MARGIN) * scale))
        drawn = np.zeros((4 * (y1 - y0), 4 * (x1 - x0)), np.uint8)
        points = (outline * scale - (x0, y0)) * 4 - 0.5
        cv2.fillPoly(drawn, [np.rint(points * 16).astype(np.int32)], 255, shift=4)
        size = (x1 - x0) * fine, (y1 - y0) * fine
        cover = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
        return x0, y0, cover.astype(np.float32) / 255

    def _shadow(self, angle: float, strength: float) -> _Shadow:
        """Kernels across and down that blur a piece's cover and move it away from the light."""
        scale = self.size / UNIT
        reach = int(np.ceil(4.5 * scale))
        steps = np.arange(-reach, reach + 1)
        across, down = (
            np.exp(-(((steps + 1.6 * scale * way) / (1.1 * scale)) ** 2) / 2)
            for way in (np.cos(angle), np.sin(angle))
        )
        return across / across.sum(), strength * down / down.sum()

    def _lay(
        self, canvas: _Field, shadow: _Shadow, x: int, y: int, alpha: _Field, colour: _Field
    ) -> None:
        """Lays a piece of paper, of one colour (3, 1, 1) or a print (3, h, w), over its shadow."""
        kept = 1 - cv2.sepFilter2D(alpha, -1, *shadow, borderType=cv2.BORDER_CONSTANT)
        kept *= 1 - alpha
        rows, columns = (slice(max(-at, 0), self.size - at) for at in (y, x))
        if colour.shape[1] > 1:
            colour = colour[:, rows, columns]
        below = canvas[:, max(y, 0) : y + len(alpha), max(x, 0) : x + alpha.shape[1]]
        below *= kept[rows, columns]
        below += alpha[rows, columns] * colour

    def _stick(
        self, lay: _Lay, motif: _Motif, rng: _Rng, placed: list[_Disc], largest: float
    ) -> tuple[_Mask, _Mask]:
        """Lays one sticker on the canvas; its mask, and that of its telling part."""
        pairs = rng.uniform(10, 245, (50, 2, 3))
        lightness = pairs @ (0.3, 0.59, 0.11)
        # A fifth of the pairs of colours, or more, is far enough apart; either is the lighter one.
        first = (abs(lightness[:, 0] - lightness[:, 1]) > 50).argmax()
        paper, ink_colour = pairs[first].astype(np.float32)[:, :, None, None]
        share, period = rng.uniform(0.4, 0.6), rng.uniform(0.9, 1.1)
        angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0, 100, 2)
        x, y, radius = self._place(rng, placed, largest)
        placed.append((x, y, radius))
        outline = (x, y) + radius * _outline(rng)
        left, top, fine = self._piece(outline, _FINE)
        size = fine.shape[1] // _FINE, fine.shape[0] // _FINE
        alpha = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
        step = UNIT / self.size / _FINE
        us = ((np.arange(fine.shape[1]) + 0.5) * step + left * UNIT / self.size - x)[None]
        vs = ((np.arange(fine.shape[0]) + 0.5) * step + top * UNIT / self.size - y)[:, None]

        cos, sin = np.cos(angle) / period, np.sin(angle) / period
        u = (us * cos + vs * sin + shift[0]).astype(np.float32)
        v = (vs * cos - us * sin + shift[1]).astype(np.float32)
        shown = fine >= 0.5
        part = np.ones_like(shown)
        if self.parts:
            turn, out = rng.uniform(0, 2 * np.pi), radius * rng.uniform(0.1, 0.5)
            du, dv = us - out * np.cos(turn), vs - out * np.sin(turn)
            part = np.hypot(du, dv) < radius * _PART_SHARE
        ink = _print(motif(u, v), shown & part, share, 1 / step)
        if self.parts:  # the rest of the object is of irregular blots, the same for every class
            noise = rng.standard_normal((64, 64)).astype(np.float32)
            at = np.mod(u / 3, 62), np.mod(v / 3, 62)
            blots = cv2.remap(noise, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
            ink = np.where(part, ink, _print(blots, shown, share, 1 / step))
        ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
        lay(left, top, alpha, paper + ink * (ink_colour - paper))

        # A sticker lies inside the picture; only the margin of its patch may not.
        mask, telling = np.zeros((2, self.size, self.size), np.bool_)
        ys, xs = np.nonzero(alpha >= 0.5)
        mask[ys + top, xs + left] = True
        here = part[_FINE // 2 :: _FINE, _FINE // 2 :: _FINE]
        telling[ys + top, xs + left] = here[ys, xs]
        return mask, telling

    def _place(self, rng: _Rng, placed: list[_Disc], largest: float) -> _Disc:
        """A disc inside the picture that meets none of those placed, smaller if it has to be."""
        radius = UNIT / 2 * rng.uniform(*self.object_size)
        radius = min(radius * (_PART_SCALE if self.parts else 1), largest)
        tries = rng.random((200, 2))
        while True:
            centres = radius + 0.5 + tries * (UNIT - 2 * radius - 1)
            free = np.ones(len(tries), np.bool_)
            for x, y, other in placed:
                free &= np.hypot(*(centres - (x, y)).T) > radius + other + 2
            if free.any():
                return (*centres[free.argmax()], radius)
            radius *= 0.95

    def _photograph(self, canvas: _Field, rng: _Rng, noise: _Rng) -> NDArray[np.uint8]:
        """The finished scene as a camera sees it: uneven light, a little blur and noise."""
        angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25)
        blur, grain = rng.uniform(0.3, 0.8), rng.uniform(2, 7)
        across = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size - 0.5
        x, y = np.cos(angle) * slope * across, np.sin(angle) * slope * across[:, None]
        canvas = canvas * (1 + x + y).astype(np.float32)
        for plane in canvas:
            cv2.GaussianBlur(plane, (0, 0), blur * self.size / UNIT, dst=plane)
        # Even noise: as good as normal here, and drawn in a quarter of the time.
        canvas += grain * 12**0.5 * (noise.random(canvas.shape, np.float32) - 0.5)
        return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def source_hash() -> str:
    """SHA-256 over the files of the photographs: with others, the same seed is another world."""
    names = sorted(name for split in SOURCES.values() for name in split)
    content = b"".join(photos.load(name).path.read_bytes() for name in names)
    return hashlib.sha256(content).hexdigest()


def _range(name: str, given: Any, kind: type, least: float, most: float) -> tuple[Any, Any]:
    """(low, high) of one number or two, of that kind (whole ones pass as float), in limits."""
    low_high = tuple(given) if isinstance(given, tuple | list) else (given, given)
    numbers = len(low_high) == 2 and all(isinstance(v, int | kind) for v in low_high)
    if not numbers or not least <= low_high[0] <= low_high[1] <= most:
        raise ValueError(
            f"StickerWorld: {name} is {given!r}, expected {'a whole' if kind is int else 'a'} "
            f"number from {least} to {most}, or a range (low, high) of such"
        )
    return low_high


@functools.cache
def _photo(name: str) -> Image.Image:
    image = photos.load(name).image
    scale = min(1.0, _SOURCE_SIDE / min(image.size))
    width, height = (round(side * scale) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _hue(label: int) -> _Field:
    """The colour of a class where a shortcut gives it away, (3, 1, 1), 0 to 1."""
    colour = colorsys.hsv_to_rgb(label / len(CLASSES), 0.9, 1.0)
    return np.array(colour, np.float32)[:, None, None]


def _outline(rng: _Rng) -> NDArray[Any]:
    """A random outline, (n, 2), that reaches the circle of radius 1 and never leaves it."""
    if rng.random() < 0.5:  # corners
        corners = int(rng.integers(4, 9))
        turn = (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) * (2 * np.pi / corners)
        points = rng.uniform(0.75, 1.0, corners) * np.exp(1j * (turn + rng.uniform(0, 2 * np.pi)))
    else:  # a smooth shape: a circle with two to five waves along it
        size, phase = rng.uniform(0, 0.25, (2, 4))
        waves = size / (2, 3, 4, 5) * np.exp(8j * np.pi * phase)
        points = (1 + (_WAVES @ waves).real) * _CIRCLE
    return _points(points / np.abs(points).max())


def _points(places: NDArray[np.complex128]) -> NDArray[Any]:
    """Complex numbers, (n,), as x and y, (n, 2)."""
    return places.view(np.float64).reshape(-1, 2)


def _print(field: _Field, where: _Mask, share: float, sharpness: float) -> _Field:
    """Ink, 0 to 1, where the field is low: on `share` of the pixels `where`, for every motif."""
    values = field[where]
    rank = int(share * len(values))
    level = np.partition(values, rank)[rank]
    ink: _Field = np.clip((level - field) * sharpness + 0.5, 0, 1)
    return ink
