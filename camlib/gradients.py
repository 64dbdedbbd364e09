"""Maps from gradients: backprop saliency at the pixels; Grad-CAM and two relatives at any layer.

The maps of a layer work for every network. The forward pass runs without a graph up to that layer
and with one from there on; the gradient goes from the class's score down to the layer and no
further. Nothing is left behind, also after an exception: no hook, no gradient, no changed mode.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from camlib.cam import CamResult, class_indices, expect_ready
from camlib.photos import did_you_mean

_Reshape = Callable[[Tensor], Tensor]
_Combine = Callable[[Tensor, Tensor], Tensor]  # activations, gradients (N, K, H, W) -> (N, H, W)


def grad_cam(
    network: nn.Module,
    images: Tensor,
    layer: nn.Module | str,
    classes: Any = None,
    *,
    top: int = 1,
    reshape: _Reshape | None = None,
    relu: bool = True,
) -> CamResult:
    """Grad-CAM: ReLU(sum_k alpha_k^c A_k), alpha_k^c the mean of dS_c/dA_k over all places.

    Selvaraju et al., ICCV 2017, equations 1 and 2. With global average pooling and one linear layer
    above `layer`, alpha_k^c = w_k^c / Z for a map of Z places: the class activation map over Z, and
    its ReLU.

    Args:
        network: from images to logits (N, C), in evaluation mode; any network.
        images: (N, 3, h, w), transformed as the network expects.
        layer: a module of the network or its dotted name ("features.conv5"), used once in a
            forward pass. A_k is its output, before anything that later layers do to it in place.
        classes, top: as for `cam.class_activation_maps`.
        reshape: from the layer's output to (N, K, H, W), where it is something else, like the
            tokens of a transformer. It may select and rearrange values, not compute with them:
            the gradient goes through it as well.
        relu: whether places that speak against the class become zero.

    Returns:
        CamResult(logits (N, C), classes (N, M), maps (N, M, H, W)), H and W those of the layer,
        maps in float32 or wider. A map may be zero everywhere: after the ReLU, if no place speaks
        for the class. In half precision small gradients lose digits or become zero, the more so
        the larger the map: use float32.

    Raises:
        ValueError: if the layer is not in the network, is used never or more than once, or gives no
            maps (N, K, H, W) of more than one place; if a score does not depend on it, or its
            gradient is zero everywhere for one image (a blank one, say); if values are not finite;
            and as for `backprop_saliency`.
    """

    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        alpha = gradients.mean(dim=(2, 3))
        return torch.einsum("nk,nkhw->nhw", alpha, activations)

    return _layer_maps("grad_cam", network, images, layer, classes, top, reshape, relu, combine)


def hires_cam(
    network: nn.Module,
    images: Tensor,
    layer: nn.Module | str,
    classes: Any = None,
    *,
    top: int = 1,
    reshape: _Reshape | None = None,
    relu: bool = True,
) -> CamResult:
    """HiResCAM: ReLU(sum_k dS_c/dA_k(x, y) A_k(x, y)), each place's gradient kept at its place.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM", 2020. Where one linear layer on the
    flattened map gives the score, these maps with `relu=False` add up to it, short of the bias;
    those of Grad-CAM do not. Args, returns and errors as for `grad_cam`.
    """

    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        return torch.einsum("nkhw,nkhw->nhw", gradients, activations)

    return _layer_maps("hires_cam", network, images, layer, classes, top, reshape, relu, combine)


def layer_cam(
    network: nn.Module,
    images: Tensor,
    layer: nn.Module | str,
    classes: Any = None,
    *,
    top: int = 1,
    reshape: _Reshape | None = None,
    relu: bool = True,
) -> CamResult:
    """Layer-CAM: ReLU(sum_k ReLU(dS_c/dA_k(x, y)) A_k(x, y)), positive gradients at their places.

    Jiang et al., IEEE TIP 2021, equations 5 to 7; made for early layers, whose gradients differ
    from place to place. Args, returns and errors as for `grad_cam`.
    """

    def combine(activations: Tensor, gradients: Tensor) -> Tensor:
        return torch.einsum("nkhw,nkhw->nhw", gradients.relu(), activations)

    return _layer_maps("layer_cam", network, images, layer, classes, top, reshape, relu, combine)


def backprop_saliency(
    network: nn.Module, images: Tensor, classes: Any = None, *, top: int = 1
) -> CamResult:
    """Backprop saliency: |dS_c/dx|, at each pixel the largest over the colours.

    Simonyan et al., "Deep Inside Convolutional Networks", section 3; the *Backprop* of the paper's
    Table 2. Any network will do; one forward pass, and one backward pass for each class. It works
    under `no_grad` and with frozen parameters, and leaves no gradient behind.

    Args:
        network: from images to logits (N, C), in evaluation mode.
        images: (N, 3, h, w), transformed as the network expects.
        classes, top: as for `cam.class_activation_maps`.

    Returns:
        CamResult(logits (N, C), classes (N, M), maps (N, M, h, w)), maps at the image's size, not
        negative, in the units of a logit per unit of the transformed image. In half precision
        small gradients become zero: use float32.

    Raises:
        ValueError: if the network is in training mode, does not give logits (N, C), or if images
            or classes do not fit.
    """
    name = expect_ready("backprop_saliency", network, images)
    with torch.inference_mode(False), torch.enable_grad():
        # A copy of its own: the caller's images may belong to another graph, or to none.
        pixels = images.detach().clone().requires_grad_()
        # Another copy for the network, whose first layer may overwrite what it gets.
        logits = network(pixels.clone())
        _expect_logits("backprop_saliency", name, logits, images)
        indices = class_indices("backprop_saliency", network, logits, classes, top)
        # The images of a batch do not meet in evaluation mode: the sum's gradient is each one's.
        scores = logits.gather(1, indices).sum(dim=0)
        last = len(scores) - 1
        maps = [
            torch.autograd.grad(score, pixels, retain_graph=m < last)[0].abs().amax(dim=1)
            for m, score in enumerate(scores)
        ]
    return CamResult(logits.detach(), indices, torch.stack(maps, dim=1))


def smoothed(maps: Tensor, sigma: float) -> Tensor:
    """Maps blurred by a Gaussian cut at four standard deviations, mirrored at the border.

    Saliency is so uneven from pixel to pixel that a box needs it.

    Args:
        maps: (..., h, w).
        sigma: standard deviation in pixels; 0 leaves the maps as they are.

    Raises:
        ValueError: if sigma is negative, or four of it reach across the whole map.
    """
    reach = round(4 * sigma) if 0 <= sigma < math.inf else -1
    if maps.ndim < 2 or not 0 <= reach < min(maps.shape[-2:]):
        raise ValueError(
            f"smoothed: got maps of shape {tuple(maps.shape)} and sigma {sigma}, expected maps "
            "(..., h, w) and a sigma from 0 to below a quarter of their shorter side"
        )
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    # Along rows, then along columns: the same as in one step, and much faster.
    for kernel in ([2 * reach + 1, 1], [1, 2 * reach + 1]) if reach else ():
        flat = gaussian_blur(flat, kernel, [float(sigma)] * 2)
    return flat.reshape(maps.shape)


def _layer_maps(
    caller: str,
    network: nn.Module,
    images: Tensor,
    layer: nn.Module | str,
    classes: Any,
    top: int,
    reshape: _Reshape | None,
    relu: bool,
    combine: _Combine,
) -> CamResult:
    name = expect_ready(caller, network, images)
    module, label = _find(caller, name, network, layer)
    cut: list[Tensor] = []

    def start_graph(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
        if cut:
            raise ValueError(
                f"{caller}: {name} uses {label} more than once in a forward pass, so it has no one "
                "map: name the layer around one of its uses, or give each use a module of its own"
            )
        _expect_map(caller, name, label, output, reshape, images)
        # A copy: a layer may hand on its own input, which others overwrite.
        cut.append(output.detach().clone().requires_grad_())
        torch.set_grad_enabled(True)
        # A copy for the layers above, which may overwrite what they get.
        return cut[0].clone()

    # Leaving `no_grad` also takes back what the hook has set.
    with torch.inference_mode(False), torch.no_grad():
        handle = module.register_forward_hook(start_graph)
        try:
            # A copy, which belongs to no inference mode.
            logits = network(images.detach().clone())
        finally:
            handle.remove()
        _expect_logits(caller, name, logits, images)
        if not cut:
            raise ValueError(
                f"{caller}: {label} of {name} is not used in a forward pass: name one that is"
            )
        indices = class_indices(caller, network, logits, classes, top)
        scores = logits.gather(1, indices).sum(dim=0)
        depends = logits.requires_grad
        arrange: _Reshape = reshape or (lambda output: output)
        wide = torch.promote_types(cut[0].dtype, torch.float32)
        activations = arrange(cut[0].detach()).to(wide)
        if not bool(activations.isfinite().all()):
            raise ValueError(
                f"{caller}: {label} of {name} gives values that are not finite (NaN or infinite): "
                "check the images and weights, and in half precision their range"
            )
        maps = []
        for m in range(indices.shape[1]):
            gradient = None
            if depends:
                # The images of a batch do not meet in evaluation mode: see backprop_saliency.
                (gradient,) = torch.autograd.grad(
                    scores[m], cut, retain_graph=m < len(scores) - 1, allow_unused=True
                )
            gradients = _expect_gradient(caller, name, label, gradient, arrange, indices[:, m])
            with torch.autocast(activations.device.type, enabled=False):
                maps.append(combine(activations, gradients.to(wide)))
    stacked = torch.stack(maps, dim=1)
    return CamResult(logits.detach(), indices, stacked.relu() if relu else stacked)


def _find(caller: str, name: str, network: nn.Module, layer: Any) -> tuple[nn.Module, str]:
    """The module, and its name for messages."""
    if isinstance(layer, str):
        try:  # directly: a list of all names takes a fiftieth of a forward pass
            return network.get_submodule(layer), layer
        except AttributeError:
            known = dict(network.named_modules(remove_duplicate=False))
        raise ValueError(
            f"{caller}: {name} has no layer {layer!r}{did_you_mean(layer, known)} (All layers: "
            f"network.named_modules(); at the top: {_listed(network)})"
        )
    for key, module in network.named_modules(remove_duplicate=False):
        if module is layer:
            return module, key or name
    kind = type(layer).__name__
    raise ValueError(
        f"{caller}: the layer given, {kind}, is not a part of {name}: expected one of its modules "
        f"(not of a copy) or a dotted name, like {_listed(network)}"
    )


def _listed(network: nn.Module) -> str:
    return ", ".join(repr(key) for key, _ in network.named_children())


def _expect_logits(caller: str, name: str, logits: Any, images: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"{caller}: {name} gives {shape}, expected logits (N, C)")


def _expect_map(
    caller: str, name: str, label: str, output: Any, reshape: _Reshape | None, images: Tensor
) -> None:
    """The layer's output is a map (N, K, H, W) of places, as it is or after `reshape`."""
    given = output
    if isinstance(output, Tensor) and reshape is not None:
        given = reshape(output)
    shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    what = "reshape gives" if reshape is not None else f"{label} of {name} gives"
    if not isinstance(given, Tensor) or given.ndim != 4 or len(given) != len(images):
        advice = "Name a layer before the flattening, such as the last convolution"
        if isinstance(given, Tensor) and given.ndim == 3:
            advice = (
                "If these are the tokens of a transformer, (N, T, K): pass reshape=, a function "
                "that drops the class token and puts the others into rows"
            )
        raise ValueError(
            f"{caller}: {what} {shape}, expected maps (N, K, H, W) for {len(images)} images. "
            f"{advice}"
        )
    channels, height, width = given.shape[1:]
    if height * width == 1:
        raise ValueError(
            f"{caller}: {what} {shape}: a single place, so there is nothing to map. Name a layer "
            "before the pooling"
        )
    rows, columns = images.shape[2:]
    # Places as far apart down as across, if the last size is not one of them.
    fits_last = abs(math.log(channels * columns / (height * rows))) < 0.1
    fits_first = abs(math.log(height * columns / (width * rows))) < 0.1
    if reshape is None and fits_last and not fits_first:
        raise ValueError(
            f"{caller}: {what} {shape} for images of {rows} x {columns}, so its channels seem to "
            "be last (as in Swin). Pass reshape=lambda output: output.permute(0, 3, 1, 2); or, if "
            "they are first after all, reshape=lambda output: output"
        )


def _expect_gradient(
    caller: str, name: str, label: str, gradient: Tensor | None, arrange: _Reshape, classes: Tensor
) -> Tensor:
    """The gradient as maps (N, K, H, W), of which none is zero everywhere."""
    if gradient is None:
        raise ValueError(
            f"{caller}: the scores of {name} do not depend on {label}, or it computes them without "
            "a graph (no_grad or detach inside the network): name another layer"
        )
    arranged = arrange(gradient)
    if not bool(arranged.isfinite().all()):
        raise ValueError(
            f"{caller}: {name} gives gradients that are not finite (NaN or infinite) at {label}: "
            "check the images and weights, and in half precision their range"
        )
    silent = (arranged == 0).flatten(1).all(dim=1).nonzero().flatten()
    if len(silent):
        i = int(silent[0])
        raise ValueError(
            f"{caller}: the gradient of class {int(classes[i])} is zero everywhere at {label} of "
            f"{name} (image {i}), so a map would be empty. In a transformer that reads its class "
            "token, no other token matters after the last attention: name a layer before it, such "
            "as the last block's first norm. In a convolutional network all units above may be "
            "off, as for a blank image: leave that image out. In half precision small gradients "
            "become zero"
        )
    return arranged
