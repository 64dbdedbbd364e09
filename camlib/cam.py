"""Class activation maps (Zhou et al., CVPR 2016, section 2): the paper's equations, and the check
that a map really is the score of its class, spread over the image."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

# Largest |mean(map) + bias - logit| that is rounding, relative to the size of the map.
_ROUNDING = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
}


class CamResult(NamedTuple):
    """What one forward pass gives.

    Attributes:
        logits: scores before softmax, (N, C).
        classes: index of the class of each map, (N, M).
        maps: M_c(x, y) at the mapping resolution, (N, M, H, W); values of either sign.
    """

    logits: Tensor
    classes: Tensor
    maps: Tensor


@torch.no_grad()
def class_activation_maps(
    network: nn.Module,
    images: Tensor,
    classes: Any = None,
    *,
    top: int = 1,
    check: bool = True,
) -> CamResult:
    """Class activation maps, M_c(x, y) = sum_k w_k^c f_k(x, y) (equation 2), in one forward pass.

    Args:
        network: follows timm's protocol (see `camlib.networks`), in evaluation mode, and ends in
            global average pooling and one linear layer. Where the classifier is the identity
            (NIN), the map of class c is feature map c.
        images: (N, 3, h, w), transformed as the network expects.
        classes: whose maps. None: the `top` highest scoring classes of each image. Else indices
            or names, M for each image: a tensor or nested list (N, M), or for a single image a
            class or a list of M classes.
        top: how many classes, where `classes` is None.
        check: whether to verify mean(map) + bias == logit for every map, relative to the size
            of the map (1e-5 in float32, looser in half precision). Turn it off only for a
            network that is known to break it, like one with global max pooling.

    Returns:
        CamResult(logits (N, C), classes (N, M), maps (N, M, H, W)). The maps are in float32, also
        where the network runs in half precision.

    Raises:
        TypeError: if the network lacks timm's protocol.
        ValueError: if the network does not end in average pooling and one linear layer, is in
            training mode, or if images or classes do not fit.
    """
    name = expect_ready("class_activation_maps", network, images)
    for method in ("forward_features", "forward_head", "get_classifier"):
        if not callable(getattr(network, method, None)):
            raise TypeError(
                f"class_activation_maps: {name} has no {method}(). Expected timm's protocol: "
                "forward_features, forward_head and get_classifier, as on every network from "
                "timm.create_model or camlib.networks.create"
            )
    timm_network: Any = network  # the type of an nn.Module's attributes is not known
    features = timm_network.forward_features(images)
    logits = timm_network.forward_head(features)
    weight, bias = _weights_per_channel(name, timm_network.get_classifier(), features, logits)
    classes = class_indices("class_activation_maps", network, logits, classes, top)
    maps = _maps(features, weight, classes)
    if check:
        _check_identity(name, network, features, logits, bias, classes, maps)
    return CamResult(logits, classes, maps)


def _maps(features: Tensor, weight: Tensor | None, classes: Tensor) -> Tensor:
    """Equation 2 for the classes (N, M) of each image; weight (C, K), or None for the identity."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    if weight is None:
        return features[torch.arange(len(features), device=features.device)[:, None], classes]
    # Image by image: the weights of M classes, (M, K), are gathered once at a time, not N times.
    with torch.autocast(features.device.type, enabled=False):
        maps = [
            weight[c].to(f.dtype) @ f.flatten(1) for f, c in zip(features, classes, strict=True)
        ]
    return torch.stack(maps).reshape(*classes.shape, *features.shape[2:])


def _weights_per_channel(
    name: str, classifier: Any, features: Any, logits: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """w (C, K) and the bias (C,), or (None, None) where the classifier is the identity."""
    advice = (
        "Use a network that ends in average pooling and one linear layer, or a method that does "
        "not need that, such as gradients.grad_cam(network, images, layer)"
    )
    if not isinstance(features, Tensor) or features.ndim != 4:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"class_activation_maps: the features of {name} have the shape {shape}, expected maps "
            f"(N, K, H, W): a transformer's tokens are not a map. {advice}"
        )
    channels, height, width = features.shape[1:]
    if isinstance(classifier, nn.Identity):
        if logits.shape != features.shape[:2]:
            raise ValueError(
                f"class_activation_maps: the classifier of {name} is the identity, so each of its "
                f"{channels} channels should be a class, but it gives logits of shape "
                f"{tuple(logits.shape)}. {advice}"
            )
        return None, None
    if isinstance(classifier, nn.Conv2d):
        raise ValueError(
            f"class_activation_maps: the classifier of {name} is a convolution (as in ResNetV2), "
            f"expected a linear layer. {advice}"
        )
    if not isinstance(classifier, nn.Linear):
        raise ValueError(
            f"class_activation_maps: the classifier of {name} is {type(classifier).__name__}, "
            f"expected one linear layer. {advice}"
        )
    numbers = classifier.in_features
    if numbers == channels:
        return classifier.weight, classifier.bias
    if numbers == width:
        why = (
            f"its features of shape {tuple(features.shape)} have the channels last (as in Swin), "
            "and camlib expects them first, (N, K, H, W)"
        )
        advice = "Permute them in a forward_features of your own, or use a network with GAP"
    else:
        why = {
            2 * channels: "two poolings are concatenated (concat pooling)",
            channels * height * width: "the map is flattened, place by place (FC layers)",
        }.get(numbers, "there are layers between them (as in MobileNetV3, or the FC layers of VGG)")
        why = (
            f"its classifier takes {numbers} numbers, but its last map has {channels} channels: "
            f"{why}, so no weight belongs to one channel and a map made from them would be wrong"
        )
    raise ValueError(f"class_activation_maps: cannot map {name}: {why}. {advice}")


def expect_ready(caller: str, network: nn.Module, images: Any) -> str:
    """The network's name, if it is in evaluation mode and the images are such a tensor.

    Raises:
        ValueError: if not, in the name of the function that the reader called.
    """
    name = str(getattr(network, "name", type(network).__name__))
    if any(module.training for module in network.modules()):
        raise ValueError(
            f"{caller}: {name} is in training mode, where dropout and batch norm make the scores "
            "of an image depend on chance and on its neighbours: call network.eval() first"
        )
    if (
        not isinstance(images, Tensor)
        or images.ndim != 4
        or not images.numel()
        or not images.is_floating_point()
    ):
        is_tensor = isinstance(images, Tensor)
        what = f"{images.dtype} {tuple(images.shape)}" if is_tensor else type(images).__name__
        raise ValueError(
            f"{caller}: got images {what}, expected a tensor of floats (N, 3, h, w); for one "
            "picture: network.transform(picture)[None]"
        )
    return name


def class_indices(
    caller: str, network: nn.Module, logits: Tensor, classes: Any, top: int
) -> Tensor:
    """Indices (N, M) of the classes to map, from `classes` and `top` of `class_activation_maps`.

    Raises:
        ValueError: if they do not fit the logits (N, C), in the name of the function called.
    """
    names: Any = getattr(network, "classes", None)
    number, known = logits.shape
    if classes is None:
        if not isinstance(top, int) or not 1 <= top <= known:
            raise ValueError(
                f"{caller}: top is {top!r}, expected a number between 1 and {known}, "
                "the number of classes"
            )
        return logits.topk(top, dim=1).indices
    if top != 1:
        raise ValueError(f"{caller}: give either classes or top, not both")

    def index(entry: Any) -> Any:
        if isinstance(entry, str):
            if names is None:
                raise ValueError(
                    f'{caller}: got the class name "{entry}", but this network '
                    "carries no names: give the index"
                )
            return names.index(entry)
        if isinstance(entry, np.ndarray):
            entry = entry.tolist()
        return [index(e) for e in entry] if isinstance(entry, list | tuple | range) else entry

    indices = index(classes)
    try:
        given = torch.as_tensor(indices, device=logits.device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(
            f"{caller}: got classes {classes!r}, expected indices or names, as many for each image"
        ) from None
    if given.numel() and (given.dtype.is_floating_point or given.dtype == torch.bool):
        raise ValueError(f"{caller}: got classes of type {given.dtype}, expected indices or names")
    if given.ndim < 2 and number == 1:
        given = given.reshape(1, -1)
    if given.ndim != 2 or len(given) != number or given.shape[1] == 0:
        raise ValueError(
            f"{caller}: got classes of shape {tuple(given.shape)} for {number} "
            f"images, expected ({number}, M), a row of classes for each image. One class each: "
            "classes[:, None]; the same for all: torch.tensor([[c]]).expand(len(images), -1)"
        )
    wrong = given[(given < 0) | (given >= known)]
    if len(wrong):
        raise ValueError(f"{caller}: got class {int(wrong[0])}, expected between 0 and {known - 1}")
    return given.long()


@torch.no_grad()
def identity_error(logits: Tensor, bias: Tensor | None, classes: Tensor, maps: Tensor) -> Tensor:
    """|mean(map) + bias - logit| for every map, relative to its size, (N, M).

    Equations 1 and 2 of the paper say S_c = sum_{x,y} M_c(x, y); with average in place of sum
    pooling and with a bias that reads mean(map) + bias = logit.
    """
    scores = logits.to(maps.dtype).gather(1, classes)
    offset = torch.zeros_like(scores) if bias is None else bias.to(maps.dtype)[classes]
    size = maps.abs().amax(dim=(2, 3)) + offset.abs()
    difference = (maps.mean(dim=(2, 3)) + offset - scores).abs()
    # A map of zeros and a score of zero agree.
    return torch.where(difference == 0, 0.0, difference / size)


def _check_identity(
    name: str,
    network: nn.Module,
    features: Tensor,
    logits: Tensor,
    bias: Tensor | None,
    classes: Tensor,
    maps: Tensor,
) -> None:
    error = identity_error(logits, bias, classes, maps)
    if not (maps.isfinite().all() and logits.isfinite().all()):
        raise ValueError(
            f"class_activation_maps: {name} gives values that are not finite (NaN or infinite) for "
            "these images: check their values, and in half precision their range"
        )
    coarsest = max(
        (features.dtype, logits.dtype, maps.dtype), key=lambda dtype: torch.finfo(dtype).eps
    )
    allowed = _ROUNDING[coarsest]
    if features.is_cuda and torch.get_float32_matmul_precision() != "highest":
        allowed = max(allowed, 1e-3)  # the network's linear layer runs in TF32, with 10 bits
    if bool((error <= allowed).all()):
        return
    head = getattr(network, "head", None)
    if not isinstance(getattr(head, "norm", nn.Identity()), nn.Identity):
        why = "it normalises after the pooling (as ConvNeXt does)"
    else:
        why = (
            "it does not end in average pooling and one linear layer: max or concat pooling, or "
            "more layers between the map and the score"
        )
    raise ValueError(
        f"class_activation_maps: for {name}, mean(map) + bias misses the logit by up to "
        f"{float(error.max()):.2g} of the map's size (rounding would be below {allowed:.0e}), so "
        f"these maps are not what the score is made of. Probably {why}. Use a network with "
        "average pooling and one linear layer, or gradients.grad_cam, which needs none"
    )


def upsample(maps: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Maps at the size of the image, bilinear as in the paper (section 2).

    Cells of the map and pixels of the image are taken as areas over the same square (half-pixel
    centres, align_corners=False), so the centre of cell i of W lies at pixel (i + 1/2) w / W.

    Args:
        maps: (..., H, W).
        size: (height, width) in pixels, or one number for both.

    Returns:
        (..., height, width).
    """
    height, width = size if isinstance(size, Sequence) else (size, size)
    whole = isinstance(height, int) and isinstance(width, int) and min(height, width) > 0
    if not whole or maps.ndim < 2 or not maps.numel() or not maps.is_floating_point():
        raise ValueError(
            f"upsample: got maps of shape {tuple(maps.shape)}, {maps.dtype}, and size "
            f"{(height, width)}, expected floats (..., H, W) and a positive whole (height, width)"
        )
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    larger: Tensor = functional.interpolate(
        flat, size=(height, width), mode="bilinear", align_corners=False
    )
    return larger.reshape(*maps.shape[:-2], height, width)
