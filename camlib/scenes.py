"""What the explorers show: pictures with their features, class vectors, maps and true boxes.

`camlib.widgets` draws them in a notebook, `camlib.export` writes them for the web pages.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2 as transforms
from torchvision.transforms.v2.functional import to_pil_image

from camlib import cam, evaluation, gradients, lab, networks, photos
from camlib.training import normalise

# Photographs of chapters 1 and 3 that may be published, the first one shown first.
PHOTOS = ("astronaut", "coffee", "chelsea", "camera", "china", "flower")
LAB_PICTURES = 6  # the first ones of the test split, whatever they show
CLASSES = 10  # offered for a photograph
BLUR = 8.0  # pixels, the sigma of chapter 9's blurred saliency

# Networks draw random weights before the trained ones are loaded.
_leaving_chance_alone = torch.random.fork_rng(devices=[])


@dataclass(frozen=True)
class Scene:
    """One picture as a network with a CAM sees it.

    Attributes:
        name: a short name, unique among the scenes.
        title: what a reader chooses it by.
        credit: who made the picture, and its licence.
        view: the picture as the network gets it, RGB, square.
        classes: names of the M classes offered, the most probable first.
        features: f_k(x, y), (K, H, W).
        weight, bias: w_k^c and b_c of these classes, (M, K) and (M,).
        logits, probabilities: theirs, from the network's own forward pass over all classes, (M,).
        boxes: of each class, the true boxes (n, 4) in pixels of the view, half-open; n may be 0.
    """

    name: str
    title: str
    credit: str
    view: Image.Image
    classes: tuple[str, ...]
    features: Tensor
    weight: Tensor
    bias: Tensor
    logits: Tensor
    probabilities: Tensor
    boxes: tuple[Tensor, ...]

    @property
    def maps(self) -> Tensor:
        """M_c(x, y) of the classes (equation 2), (M, H, W)."""
        return torch.einsum("ck,kyx->cyx", self.weight, self.features)


@dataclass(frozen=True)
class Head:
    """What a head says of one photograph, and the map that its last weights give.

    Attributes:
        name: what the head is made of.
        label: the class that the numbers are about.
        map: last weights of the class times the features, (H, W).
        bias, logit: of that class.
    """

    name: str
    label: str
    map: Tensor
    bias: float
    logit: float


@dataclass(frozen=True)
class Comparison:
    """Maps of several methods for one picture and the same classes.

    Attributes:
        name, title, credit, view, classes, boxes: as those of a `Scene`.
        maps: for each method (M, H, W), H and W the method's own.
    """

    name: str
    title: str
    credit: str
    view: Image.Image
    classes: tuple[str, ...]
    maps: dict[str, Tensor]
    boxes: tuple[Tensor, ...]


@functools.cache
@_leaving_chance_alone
def of_photos() -> tuple[Scene, ...]:
    """The photographs of `PHOTOS` as lite0 sees them.

    The classes of each: its five most probable, those of its drawn objects, and classes that
    have the highest value of all 1000 at some place, up to `CLASSES`.
    """
    network: Any = networks.create("lite0")
    classifier = network.get_classifier()
    return tuple(_of_photo(network, classifier, photos.load(name)) for name in PHOTOS)


def _of_photo(network: Any, classifier: nn.Linear, photo: photos.Photo) -> Scene:
    with torch.no_grad():
        features = network.forward_features(network.transform(photo.image)[None])
        logits = network.forward_head(features)[0]
        maps = torch.einsum("ck,kyx->cyx", classifier.weight, features[0])
        probabilities = logits.softmax(0)
    drawn: dict[int, list[tuple[int, int, int, int]]] = {}
    for thing in photo.objects:
        if name := thing.class_name or thing.stand_in:
            drawn.setdefault(network.classes.index(name), []).append(thing.box)
    winners = maps.argmax(dim=0).flatten().bincount(minlength=len(logits))
    wanted = [*logits.topk(5).indices.tolist(), *drawn]
    wanted += [c for c in winners.argsort(descending=True).tolist() if winners[c]]
    few = list(dict.fromkeys(wanted))[: max(CLASSES, 5 + len(drawn))]
    chosen = torch.tensor(few)[logits[few].argsort(descending=True)]
    size = photo.image.height, photo.image.width
    boxes = []
    for c in chosen.tolist():
        in_photo = torch.tensor(drawn.get(c, [])).reshape(-1, 4).float()
        whole = tv_tensors.BoundingBoxes(in_photo, format="XYXY", canvas_size=size)
        boxes.append(network.transform.geometry()(whole).as_subclass(Tensor))
    return Scene(
        name=photo.name,
        title=photo.name,
        credit=f"Photo: {photo.credit}; {photo.licence}",
        view=network.transform.view(photo.image),
        classes=tuple(network.classes[c] for c in chosen.tolist()),
        features=features[0],
        weight=classifier.weight.detach()[chosen],
        bias=classifier.bias.detach()[chosen],
        logits=logits[chosen],
        probabilities=probabilities[chosen],
        boxes=tuple(boxes),
    )


@functools.cache
@_leaving_chance_alone
def of_lab() -> tuple[Scene, ...]:
    """The first pictures of the lab's test split as GoogLeNet-GAP sees them, with exact boxes."""
    network: Any = networks.create("googlenet-gap", pretrained=True, scale="lab")
    pictures = evaluation.split(lab.StickerWorld("test"), LAB_PICTURES)
    images = normalise(pictures.images, network)
    classifier = network.get_classifier()
    with torch.no_grad():
        features = network.forward_features(images)
        logits = network.forward_head(features)
    scenes = []
    for n, label in enumerate(pictures.labels.tolist()):
        classes = _best_and_true(logits[n], label)
        scenes.append(
            Scene(
                name=f"lab-{n + 1}",
                title=f"lab picture {n + 1}: {lab.CLASSES[label]}",
                credit="Picture of the lab: stickers made by camlib on a crop of a photograph",
                view=to_pil_image(pictures.images[n]),
                classes=tuple(lab.CLASSES[c] for c in classes),
                features=features[n],
                weight=classifier.weight.detach()[classes],
                bias=classifier.bias.detach()[classes],
                logits=logits[n, classes],
                probabilities=logits[n].softmax(0)[classes],
                boxes=_boxes_of(pictures, n, classes),
            )
        )
    return tuple(scenes)


def _best_and_true(logits: Tensor, label: int) -> list[int]:
    """The three most probable classes and the true one, the most probable first."""
    best: list[int] = logits.topk(3).indices.tolist()
    return best if label in best else [*best, label]


def _boxes_of(pictures: evaluation.Split, n: int, classes: Sequence[int]) -> tuple[Tensor, ...]:
    true, none = pictures.boxes[n], torch.zeros(0, 4)
    return tuple(true if c == int(pictures.labels[n]) else none for c in classes)


@functools.cache
@_leaving_chance_alone
def comparisons() -> tuple[Comparison, ...]:
    """Methods side by side on the same pictures as `of_lab`."""
    gap, gmp, vgg16 = (
        networks.create(name, pretrained=True, scale="lab")
        for name in ("googlenet-gap", "googlenet-gmp", "vgg16")
    )
    pictures = evaluation.split(lab.StickerWorld("test"), LAB_PICTURES)
    images = normalise(pictures.images, gap)  # all networks of the lab take the same input
    found = []
    for n, scene in enumerate(of_lab()):
        one, classes = images[n : n + 1], [lab.CLASSES.index(name) for name in scene.classes]
        saliency = gradients.backprop_saliency(gap, one, classes).maps[0]
        last = _last_map_of(gap)
        maps = {
            "CAM, GoogLeNet-GAP": cam.class_activation_maps(gap, one, classes).maps[0],
            "CAM weights on GoogLeNet-GMP": cam.class_activation_maps(
                gmp, one, classes, check=False
            ).maps[0],
            "Grad-CAM, GoogLeNet-GAP": gradients.grad_cam(gap, one, last, classes).maps[0],
            "Grad-CAM, VGG-16 with FC layers": gradients.grad_cam(
                vgg16, one, "features.conv5_3", classes
            ).maps[0],
            "backprop saliency, GoogLeNet-GAP": saliency,
            "backprop saliency, blurred": gradients.smoothed(saliency, BLUR),
        }
        found.append(
            Comparison(
                f"comparison-{n + 1}",
                scene.title,
                scene.credit,
                scene.view,
                scene.classes,
                maps,
                scene.boxes,
            )
        )
    return tuple(found)


def _last_map_of(network: Any) -> nn.Module:
    """The layer whose output the head pools."""
    last: nn.Module = list(network.features.children())[-1]
    return last


class _MaximumAndAverage(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1)


@functools.cache
@_leaving_chance_alone
def heads() -> dict[str, tuple[Head, ...]]:
    """Three heads on the features of each photograph, two of them trained as in chapter 3.

    lite0's own; one linear layer behind an average; and two layers behind maximum and average,
    whose last weight has a map's number of channels by accident. The latter two learn to tell
    from which of the photographs a crop comes.
    """
    network: Any = networks.create("lite0")
    scenes, k = of_photos(), network.get_classifier().in_features
    torch.manual_seed(0)
    crops, labels = _crops(network, scenes)
    linear = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(k, len(scenes)))
    deep = nn.Sequential(
        _MaximumAndAverage(),
        nn.BatchNorm1d(2 * k),
        nn.Linear(2 * k, k),
        nn.ReLU(),
        nn.BatchNorm1d(k),
        nn.Linear(k, len(scenes)),
    )
    for head in (linear, deep):
        _train(head, crops, labels)
    trained = (
        ("average, one linear layer", linear),
        ("maximum and average, two layers", deep),
    )
    return {scene.name: _heads_of(n, scene, trained) for n, scene in enumerate(scenes)}


def _heads_of(
    n: int, scene: Scene, trained: Sequence[tuple[str, nn.Sequential]]
) -> tuple[Head, ...]:
    own = Head(
        "lite0's own: average, one linear layer",
        scene.classes[0],
        scene.maps[0],
        float(scene.bias[0]),
        float(scene.logits[0]),
    )
    others = []
    for name, head in trained:
        last: Any = head[-1]
        others.append(
            Head(
                name,
                f"a crop of {scene.name}",
                torch.einsum("k,kyx->yx", last.weight[n], scene.features),
                float(last.bias[n]),
                float(head(scene.features[None])[0, n]),
            )
        )
    return own, *others


def _crops(network: Any, scenes: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Features of eight crops of each photograph, and which photograph each is from."""
    crop = transforms.Compose(
        [transforms.RandomResizedCrop(128, scale=(0.2, 0.8)), transforms.RandomHorizontalFlip()]
    )
    pictures = [photos.load(scene.name).image for scene in scenes]
    images = torch.stack([network.transform(crop(p), 128) for p in pictures for _ in range(8)])
    with torch.no_grad():
        features = torch.cat([network.forward_features(part) for part in torch.split(images, 16)])
    return features, torch.arange(len(scenes)).repeat_interleave(8)


def _train(head: nn.Sequential, features: Tensor, labels: Tensor, steps: int = 20) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    for _ in range(steps):
        loss = functional.cross_entropy(head.train()(features), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    head.eval().requires_grad_(False)
