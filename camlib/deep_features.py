"""Deep features for other tasks (section 4): a linear SVM on what a network's last layer is given.

The SVM is scikit-learn's. Its weights take the place of w_k^c, so that maps of classes which the
network was never trained on come from `camlib.cam` like any others.
"""

import copy
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resized_crop

from camlib import cam
from camlib.networks import ClassNames
from camlib.training import normalise

LAST = "last"  # what the classifier is given: GAP of the last maps, or fc7 in AlexNet
# Values of C among which validation pictures choose.
COSTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Chosen(NamedTuple):
    """The SVM whose C did best on validation pictures.

    Attributes:
        svm: scaling and SVM, fitted to the training pictures alone.
        cost: its C.
        accuracy: on the validation pictures, by C.
    """

    svm: Pipeline
    cost: float
    accuracy: dict[float, float]


@torch.inference_mode()
def by_layer(
    network: nn.Module, images: Tensor, layers: Sequence[str], batch: int = 50
) -> dict[str, Tensor]:
    """One vector for each picture from each of some layers, in one pass.

    Args:
        network: timm's protocol, in evaluation mode; it stays as it is.
        images: uint8 (N, 3, h, w); they are normalised here.
        layers: dotted names of modules, whose output is averaged over its places, or `LAST`.
        batch: pictures at once.

    Returns:
        (N, D) for each layer, float32, on the CPU.

    Raises:
        ValueError: if there is no such layer, or the network is in training mode.
    """
    modules, device = dict(network.named_modules()), next(network.parameters()).device
    timm_network: Any = network
    caught: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def keep(layer: str, found: Tensor) -> None:
        caught[layer].append((found.mean(dim=(2, 3)) if found.ndim == 4 else found).cpu())

    handles = []
    try:
        for layer in layers:
            if layer == LAST:
                hook: Any = lambda _, given, layer=layer: keep(layer, given[0])  # noqa: E731
                handles.append(timm_network.get_classifier().register_forward_pre_hook(hook))
            elif layer in modules:
                hook = lambda _, __, made, layer=layer: keep(layer, made)  # noqa: E731
                handles.append(modules[layer].register_forward_hook(hook))
            else:
                known = f'{", ".join(list(modules)[1:6])}, ... or "{LAST}"'
                raise ValueError(f"by_layer: there is no layer {layer!r} (there are: {known})")
        for some in torch.split(images, batch):
            inputs = normalise(some, network)
            cam.expect_ready("by_layer", network, inputs)
            network(inputs.to(device))
    finally:
        for handle in handles:
            handle.remove()
    return {layer: torch.cat(found).clone() for layer, found in caught.items()}


def features(network: nn.Module, images: Tensor, layer: str = LAST, batch: int = 50) -> Tensor:
    """`by_layer` for one layer, (N, D)."""
    return by_layer(network, images, [layer], batch)[layer]


def fit(vectors: Tensor, labels: Tensor, cost: float) -> Pipeline:
    """A linear SVM, one class against the rest, on features scaled to mean 0 and deviation 1.

    Args:
        vectors: (N, D), of the training pictures alone: they also set the scaling.
        labels: (N,).
        cost: scikit-learn's C; the smaller, the smaller the weights.
    """
    svm = make_pipeline(StandardScaler(), LinearSVC(C=cost, max_iter=5000, random_state=0))
    return svm.fit(vectors.double().numpy(), labels.numpy())


def correct(svm: Pipeline, vectors: Tensor, labels: Tensor) -> Tensor:
    """Which answers are right: (N,) of 0 and 1, float64."""
    return (torch.from_numpy(svm.predict(vectors.double().numpy())) == labels).double()


def choose(
    train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], costs: Sequence[float] = COSTS
) -> Chosen:
    """One SVM for each C; the one that is right most often on validation pictures.

    Args:
        train, valid: features (N, D) and labels (N,).
        costs: values of C; where several are level, the middle one of them.
    """
    found = {cost: fit(*train, cost) for cost in costs}
    accuracy = {cost: correct(svm, *valid).mean().item() for cost, svm in found.items()}
    level = [cost for cost in costs if accuracy[cost] == max(accuracy.values())]
    cost = level[len(level) // 2]
    return Chosen(found[cost], cost, accuracy)


def linear_layer(svm: Pipeline) -> nn.Linear:
    """The SVM as a linear layer on features as they come, the scaling taken into its weights.

    With mean mu and deviation s of the training features, v . (F - mu) / s + a = w . F + b for
    w = v / s and b = a - w . mu.

    Args:
        svm: of `fit`.

    Returns:
        Weights (C, D) and bias (C,), float32; of two classes one row, the decision for the second.
    """
    scaler, machine = svm[0], svm[-1]
    weight = machine.coef_ / scaler.scale_
    bias = machine.intercept_ - weight @ scaler.mean_
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer.eval()


def with_svm(network: nn.Module, svm: Pipeline, classes: Sequence[str]) -> nn.Module:
    """A copy of a network whose last layer is the SVM: decision values are its logits.

    Args:
        network: ends in one linear layer; it stays as it is.
        svm: of `fit`, on this network's features `LAST`.
        classes: the names of its rows.

    Raises:
        ValueError: if the SVM was trained on features of another length or on another number of
            classes than there are names.
    """
    made: Any = copy.deepcopy(network)
    old, new = made.get_classifier(), linear_layer(svm)
    if old.in_features != new.in_features:
        raise ValueError(
            f"with_svm: the SVM takes {new.in_features} numbers, but the network's last layer is "
            f"given {old.in_features}: train it on features(network, images)"
        )
    if len(classes) != new.out_features:
        raise ValueError(
            f"with_svm: got {len(classes)} names for an SVM of {new.out_features} rows, expected "
            "one for each class it was trained on; a class without a training picture has no row"
        )
    setattr(made, next(name for name, module in made.named_modules() if module is old), new)
    made.classes = ClassNames(classes)
    with_it: nn.Module = made.eval()
    return with_it


def crops(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """The square around each box, cut out and brought to one size: what is looked at again.

    The square has the longer side of its box, so that shapes are kept, and is moved inside the
    picture where it sticks out. An empty box (0, 0, 0, 0) gives the whole picture.

    Args:
        images: uint8 (N, 3, h, w).
        boxes: (N, 4), (x0, y0, x1, y1), half-open pixels.
        size: side of the result in pixels.

    Returns:
        uint8 (N, 3, size, size).
    """
    height, width = images.shape[-2:]
    largest = min(height, width)
    cut = functools.partial(resized_crop, size=[size, size], antialias=True)
    made = []
    for image, (x0, y0, x1, y1) in zip(images, boxes.tolist(), strict=True):
        longer = max(x1 - x0, y1 - y0)
        side = max(1, round(min(longer, largest))) if longer > 0 else largest
        left, top = (round((low + high - side) / 2) for low, high in ((x0, x1), (y0, y1)))
        left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
        made.append(cut(image, top, left, side, side))
    return torch.stack(made)
