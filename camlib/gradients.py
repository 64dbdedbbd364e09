"""Maps from gradients: what a small change of the image would do to the score of a class."""

from typing import Any

import torch
from torch import Tensor, nn

from camlib.cam import CamResult, class_indices, expect_ready


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
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"backprop_saliency: {name} gives {shape}, expected logits (N, C)")
        indices = class_indices("backprop_saliency", network, logits, classes, top)
        # The images of a batch do not meet in evaluation mode: the sum's gradient is each one's.
        scores = logits.gather(1, indices).sum(dim=0)
        last = len(scores) - 1
        maps = [
            torch.autograd.grad(score, pixels, retain_graph=m < last)[0].abs().amax(dim=1)
            for m, score in enumerate(scores)
        ]
    return CamResult(logits.detach(), indices, torch.stack(maps, dim=1))
