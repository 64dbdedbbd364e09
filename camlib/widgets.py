"""Explorers for notebooks: maps that change with a few controls, and your own photo.

Each function makes one; as the last line of a cell it shows itself. Where a kernel runs, controls
move it; elsewhere (the book's pages, a printed notebook) it is a figure of its first state. The
pictures are those of `camlib.scenes`; the web pages have the same explorers in JavaScript.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import ndimage
from torch import Tensor

from camlib import boxes, cam, evaluation, explorer_figures, networks, photos, scenes
from camlib.explorer import (
    Explorer,
    OfScenes,
    button,
    cells,
    choice,
    offer,
    radio,
    search,
    share_of_maximum,
    steps,
    upload,
)
from camlib.explorer_figures import percent, written

STRONGEST = 10  # channels shown one by one
SIDES = ("left", "right")
SCALES = {"each to its maximum": "own", "one for both": "shared", "with negative values": "signed"}


def classes(picture: str | None = None) -> Explorer:
    """The map of each class offered, and which of the classes vote for a place.

    Args:
        picture: name of the photograph to start with, of `scenes.PHOTOS`; default the first.

    Raises:
        ValueError: if there is no such picture; so do the other explorers.
    """
    return _Classes("classes", scenes.of_photos(), picture)


def channels(picture: str | None = None) -> Explorer:
    """A map that grows as channels are added, those first that give most to the score."""
    return _Channels("channels", scenes.of_photos(), picture)


def scales(picture: str | None = None) -> Explorer:
    """Two maps, drawn in several ways: upsampling and colour scale."""
    return _Scales("scales", scenes.of_photos(), picture)


def threshold(picture: str | None = None) -> Explorer:
    """From a map to boxes at a share of its maximum, and their IoU with the true ones.

    Args:
        picture: a photograph, or "lab-1" and so on; default the first photograph.
    """
    return _Threshold("threshold", (*scenes.of_photos(), *scenes.of_lab()), picture)


def methods(
    picture: str | None = None, left: str | None = None, right: str | None = None
) -> Explorer:
    """The maps of two methods side by side, with their boxes.

    Args:
        picture: "comparison-1" and so on; default the first.
        left, right: methods to start with, of `scenes.Comparison.maps`; default the first two.
    """
    found = scenes.comparisons()
    names = list(found[0].maps)  # the same for all pictures
    for method in (left, right):
        if method is not None and method not in names:
            hint = photos.did_you_mean(str(method), names)
            raise ValueError(f"widgets.methods: there is no method {method!r}{hint}")
    explorer = _Methods("methods", found, picture)
    with explorer.drawn_once():
        explorer.controls["left"].value = left or names[0]
        explorer.controls["right"].value = right or names[1]
    return explorer


def identity(picture: str | None = None) -> Explorer:
    """mean(map) + bias against the score of three heads, also with places switched off."""
    return _Identity("identity", scenes.of_photos(), picture)


def your_photo(image: photos.ImageLike | None = None) -> Explorer:
    """The map of any ImageNet class for a picture of your own, with its box.

    Args:
        image: what to start with, for example a path; default the photograph of a cup of coffee.

    Raises:
        FileNotFoundError, ValueError: if it is no picture, as `photos.read`.
    """
    return _YourPhoto(photos.load("coffee").image if image is None else image)


class _Classes(OfScenes[scenes.Scene]):
    shows = "The map of a class over the picture, and the value of every class's map in a frame"

    def _controls(self) -> dict[str, Any]:
        return {"class": choice("class"), "row": cells("row"), "column": cells("column")}

    def _opened(self) -> None:
        shares = zip(self.scene.classes, self.scene.probabilities.tolist(), strict=True)
        offer(self.controls["class"], [(f"{name}, {percent(p)}", name) for name, p in shares])
        highest = divmod(int(self.scene.maps[0].argmax()), self.scene.maps.shape[2])
        self._move(highest, self.scene.maps.shape[1:])

    def _figure(self) -> Figure:
        return explorer_figures.classes(self.scene, self._m(), *self._at())

    def _says(self) -> str:
        scene, m, (row, column) = self.scene, self._m(), self._at()
        votes = scene.maps[:, row, column].tolist()
        first = int(np.argmax(votes))
        return (
            f"{scene.classes[m]}: probability {percent(float(scene.probabilities[m]))}. At row "
            f"{row}, column {column}, counted from 0, its map is {written(votes[m], 1)}; of the "
            f"classes listed, {scene.classes[first]} is highest there, {written(votes[first], 1)}."
        )


class _Channels(OfScenes[scenes.Scene]):
    shows = "A map from some channels, the map from all, and ten channels alone"

    def _controls(self) -> dict[str, Any]:
        return {"class": choice("class"), "channels added": steps("channels added")}

    def _opened(self) -> None:
        k = len(self.scene.features)
        counts = [*range(10), *range(10, 50, 5), *range(50, 200, 25), *range(200, k, 100), k]
        offer(self.controls["class"], [(name, name) for name in self.scene.classes])
        offer(self.controls["channels added"], [(f"{n} of {k}", n) for n in counts])
        self.controls["channels added"].value = 5

    def _ranked(self) -> tuple[Tensor, Tensor]:
        """What each channel gives to the score, w_k^c F_k, and the channels, largest first."""
        given = self.scene.weight[self._m()] * self.scene.features.mean(dim=(1, 2))
        return given, given.argsort(descending=True)

    def _figure(self) -> Figure:
        given, order = self._ranked()
        added = order[: self.controls["channels added"].value]
        strongest = order[:STRONGEST].tolist()
        return explorer_figures.channels(self.scene, self._m(), added, given, strongest)

    def _says(self) -> str:
        scene, m, count = self.scene, self._m(), self.controls["channels added"].value
        given, order = self._ranked()
        added, bias = order[:count], float(scene.bias[m])
        alike = ""
        if count:
            partial = torch.einsum("k,kyx->yx", scene.weight[m, added], scene.features[added])
            both = torch.stack([partial.flatten(), scene.maps[m].flatten()])
            correlation = float(torch.corrcoef(both)[0, 1])
            alike = f"; correlation with the whole map {written(correlation)}"
        return (
            f"{count} channels and the bias {written(bias)} give "
            f"{written(float(given[added].sum()) + bias)}; the score of {scene.classes[m]} is "
            f"{written(float(scene.logits[m]))}{alike}."
        )


class _Scales(OfScenes[scenes.Scene]):
    shows = "The maps of two classes over the picture"

    def _controls(self) -> dict[str, Any]:
        return {
            "left": choice("left"),
            "right": choice("right"),
            "upsampling": radio("upsampling", ["bilinear", "nearest"]),
            "colour scale": radio("colour scale", list(SCALES)),
        }

    def _opened(self) -> None:
        for side in ("left", "right"):
            offer(self.controls[side], [(name, name) for name in self.scene.classes])
        self.controls["right"].value = self.scene.classes[-1]

    def _figure(self) -> Figure:
        kind = SCALES[self.controls["colour scale"].value]
        nearest = self.controls["upsampling"].value == "nearest"
        pair = self._m("left"), self._m("right")
        return explorer_figures.scales(self.scene, pair, nearest, kind)

    def _says(self) -> str:
        told = []
        for m in (self._m("left"), self._m("right")):
            low, high = (written(float(v), 1) for v in self.scene.maps[m].aminmax())
            below = int((self.scene.maps[m] < 0).sum())
            places = f"{below} of {self.scene.maps[m].numel()} places negative"
            told.append(f"{self.scene.classes[m]}: from {low} to {high}, {places}")
        return "; ".join(told) + "."


class _Threshold(OfScenes[scenes.Scene]):
    shows = "The map of a class with boxes, and the IoU at every threshold"

    def _controls(self) -> dict[str, Any]:
        return {
            "class": choice("class"),
            "threshold": share_of_maximum("threshold"),
            "boxes": radio("boxes", ["largest region", "all regions"]),
        }

    def _opened(self) -> None:
        named = zip(self.scene.classes, self.scene.boxes, strict=True)
        pairs = [(c if len(b) else f"{c} (no true box)", c) for c, b in named]
        offer(self.controls["class"], pairs)

    def _found(self, share: float) -> Tensor:
        heatmap = cam.upsample(self.scene.maps[self._m()], self.scene.view.height)
        return boxes_at(heatmap, share, self.controls["boxes"].value == "all regions")

    def _figure(self) -> Figure:
        share, truth, curve = self.controls["threshold"].value, self._truth(), []
        for t in sorted({*evaluation.SHARES, share}):
            overlap = best_iou(self._found(t), truth)
            if overlap is not None:
                curve.append((t, overlap))
        found = self._found(share)
        now = share, best_iou(found, truth)
        return explorer_figures.threshold(self.scene, self._m(), found, truth, now, curve)

    def _says(self) -> str:
        share, name = self.controls["threshold"].value, self.controls["class"].value
        found, overlap = self._found(share), best_iou(self._found(share), self._truth())
        heatmap = cam.upsample(self.scene.maps[self._m()], self.scene.view.height)
        kept = float(boxes.above("widgets.threshold", heatmap, share).float().mean())
        where = f", box {_corners(found[0])}" if len(found) == 1 else ""
        if overlap is None:
            worth = f"No box of {name} is drawn in this picture, so there is no IoU."
        else:
            verdict = "found" if overlap >= 0.5 else "missed"
            worth = f"IoU with the truth {written(overlap)}: {verdict} at the usual 0.5."
        return (
            f"Above {percent(share)} of the maximum: {percent(kept)} of the picture, {len(found)} "
            f"{'box' if len(found) == 1 else 'boxes'}{where}. {worth}"
        )


class _Methods(OfScenes[scenes.Comparison]):
    shows = "The maps of two methods over the picture, with boxes"

    def _controls(self) -> dict[str, Any]:
        names = list(next(iter(self._offered.values())).maps)
        sides = {side: choice(side, [(name, name) for name in names]) for side in SIDES}
        return {"class": choice("class"), **sides, "threshold": share_of_maximum("threshold")}

    def _opened(self) -> None:
        named = zip(self.scene.classes, self.scene.boxes, strict=True)
        offer(self.controls["class"], [(f"{c} (true)" if len(b) else c, c) for c, b in named])

    def _sides(self) -> list[tuple[str, Tensor]]:
        """Left and right: the method, and the box of its map, (1, 4), or none."""
        found = []
        for method in (self.controls[side].value for side in SIDES):
            heatmap = cam.upsample(self.scene.maps[method][self._m()], self.scene.view.height)
            found.append((method, boxes_at(heatmap, self.controls["threshold"].value)))
        return found

    def _figure(self) -> Figure:
        return explorer_figures.methods(self.scene, self._m(), self._sides(), self._truth())

    def _says(self) -> str:
        told = []
        for method, found in self._sides():
            overlap = best_iou(found, self._truth())
            worth = "no true box of this class" if overlap is None else f"IoU {written(overlap)}"
            told.append(f"{method}: {worth}")
        return f"{'; '.join(told)}. Each map has its own colour scale and its own maximum."


class _Identity(OfScenes[scenes.Scene]):
    shows = "The picture, the cells of a map over it, and a sum"

    def _controls(self) -> dict[str, Any]:
        names = [head.name for head in next(iter(scenes.heads().values()))]
        return {
            "head": choice("head", [(name, n) for n, name in enumerate(names)]),
            "row": cells("row"),
            "column": cells("column"),
            "this place off or on": button("this place off or on", self._switch),
            "all places on": button("all places on", self._reset),
        }

    def _opened(self) -> None:
        rows, columns = self.scene.maps.shape[1:]
        self._off = torch.zeros(rows, columns, dtype=torch.bool)
        self._move((rows // 2, columns // 2), (rows, columns))

    def _switch(self, pressed: Any) -> None:
        self._off[self._at()] = ~self._off[self._at()]
        self.draw()

    def _reset(self, pressed: Any) -> None:
        self._off[:] = False
        self.draw()

    def draw(self) -> None:
        if self.controls["head"].value != 0:  # the other heads have no score of some places
            self._off[:] = False
        self.controls["this place off or on"].disabled = self.controls["head"].value != 0
        self.controls["all places on"].disabled = not self._off.any()
        super().draw()

    def _head(self) -> scenes.Head:
        head: scenes.Head = scenes.heads()[self.scene.name][self.controls["head"].value]
        return head

    def _numbers(self) -> tuple[float, float, float]:
        """Mean of the map that is left, the score, and how far the sum is from it.

        With places off, the score is computed the other way round: each channel is pooled over
        the places left, divided by all places, and then weighed. The distance is a share of the
        map's largest size.
        """
        head, on = self._head(), ~self._off
        mean, score = float((head.map * on).mean()), head.logit
        if self._off.any():
            pooled = (self.scene.features * on).mean(dim=(1, 2))
            score = float(self.scene.weight[0] @ pooled) + head.bias
        return mean, score, abs(mean + head.bias - score) / float(head.map.abs().max())

    def _figure(self) -> Figure:
        head, (mean, score, apart) = self._head(), self._numbers()
        lines = [
            ("mean of the map", written(mean, 3)),
            ("+ bias", written(head.bias, 3)),
            ("= sum", written(mean + head.bias, 3)),
            ("score of the places left" if self._off.any() else "score (torch)", written(score, 3)),
            ("apart, of the map's size", "< 0.1 %" if apart < 0.001 else f"{100 * apart:.1f} %"),
        ]
        return explorer_figures.identity(self.scene, head, self._off, self._at(), lines)

    def _says(self) -> str:
        head, (mean, score, apart) = self._head(), self._numbers()
        verdict = (
            "The map is the score, spread over the places."
            if apart < 0.005
            else "The numbers do not add up: this map is not what the score is made of."
        )
        gone, places = int(self._off.sum()), self._off.numel()
        off = f", with {gone} of {places} places off" if gone else ""
        own = self.controls["head"].value == 0
        how = "" if own else " Places can be switched off with lite0's own head."
        return f"{verdict} {written(mean + head.bias, 3)} against {written(score, 3)}{off}.{how}"


class _YourPhoto(Explorer):
    shows = "The photo, and the map of a class over it with a box"

    def __init__(self, image: photos.ImageLike) -> None:
        with torch.random.fork_rng(devices=[]):  # making a network draws random weights first
            self._network: Any = networks.create("lite0")
        self._problem = ""
        known: Any = self._network.classes
        controls = {
            "choose a photo": upload("choose a photo"),
            "class": choice("class"),
            "another class": search("another class", known, "one of 1000"),
            "threshold": share_of_maximum("threshold"),
        }
        super().__init__("your photo", controls)
        own = {"choose a photo": self._uploaded, "another class": self._searched}
        for name, changed in own.items():
            controls[name].unobserve(self._changed, "value")
            controls[name].observe(changed, "value")
        self._read(image)

    def _read(self, image: photos.ImageLike) -> None:
        """Show another picture; one that cannot be read raises, and the last one stays."""
        transform = self._network.transform
        picture = photos.read(image)
        view = transform.view(picture)
        with torch.no_grad():
            features = self._network.forward_features(transform(picture)[None])
            logits = self._network.forward_head(features)[0]
        self._picture, self._seen = picture, view
        self._features, self._probabilities = features[0], logits.softmax(0)
        with self.drawn_once():
            best = logits.topk(5).indices.tolist()
            offer(self.controls["class"], [self._named(c) for c in best])
            self.controls["another class"].value = ""

    def _named(self, c: int) -> tuple[str, int]:
        return f"{self._network.classes[c]}, {percent(float(self._probabilities[c]))}", c

    def _uploaded(self, change: Any) -> None:
        for file in change.new:
            name = Path(file["name"]).name
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, f"photo{Path(name).suffix}")
                path.write_bytes(file["content"])
                try:
                    self._read(path)
                except (ValueError, OSError) as error:
                    self._complain(f"The last picture stays: {error}".replace(str(path), name))

    def _searched(self, change: Any) -> None:
        wanted = change.new.strip()
        if self._waiting or not wanted:
            return
        try:
            c = self._network.classes.index(wanted)
        except ValueError as error:
            self._complain(f"The last class stays: {error}")
            return
        listed = dict(self.controls["class"].options)
        with self.drawn_once():
            self.controls["class"].options = listed | dict([self._named(c)])
            self.controls["class"].value = c

    def _complain(self, problem: str) -> None:
        self._problem = f"{problem}\n"
        self.draw()
        self._problem = ""

    def _map(self) -> Tensor:
        weight = self._network.get_classifier().weight.detach()[self.controls["class"].value]
        return torch.einsum("k,kyx->yx", weight, self._features)

    def _box(self) -> Tensor:
        large = cam.upsample(self._map(), (self._seen.height, self._seen.width))
        return boxes_at(large, self.controls["threshold"].value)

    def _figure(self) -> Figure:
        title = self._network.classes[self.controls["class"].value]
        return explorer_figures.your_photo(self._seen, self._map(), title, self._box())

    def _says(self) -> str:
        c, names = self.controls["class"].value, self._network.classes
        best = (self._named(b)[0] for b in self._probabilities.topk(5).indices.tolist())
        share, found = percent(self.controls["threshold"].value), self._box()
        if len(found):
            whole = self._network.transform.box_in_photo(found[0], self._picture.size).round()
            where = f"box {_corners(whole)} of the photo's {self._picture.width} \u00d7 "
            where += f"{self._picture.height} pixels, above {share} of the maximum"
        else:
            where = "no box, as no value of the map is above zero"
        low, high = (written(float(v), 1) for v in self._map().aminmax())
        return (
            f"{self._problem}Five most probable of 1000 classes: {'; '.join(best)}. Map of "
            f"{names[c]}: from {low} to {high}; {where}."
        )


def boxes_at(heatmap: Tensor, share: float, every: bool = False) -> Tensor:
    """Boxes of a map at image size (h, w), above a share of its maximum, (n, 4).

    Of its largest region, or of every region. There is none where no value is above zero.
    """
    if not heatmap.max() > 0:
        return torch.zeros(0, 4)
    if not every:
        return boxes.box_from_map(heatmap, share)[None]
    above = boxes.above("boxes_at", heatmap, share).numpy()
    regions, _ = ndimage.label(above, np.ones((3, 3)))
    found = ndimage.find_objects(regions)
    return torch.tensor([(x.start, y.start, x.stop, y.stop) for y, x in found])


def best_iou(found: Tensor, truth: Tensor) -> float | None:
    """The best IoU of any box with any true one; None where there is no truth."""
    if not len(truth):
        return None
    return float(boxes.iou(found.float(), truth).max()) if len(found) else 0.0


def _corners(box: Tensor) -> str:
    return f"({', '.join(f'{v:.0f}' for v in box.tolist())})"
