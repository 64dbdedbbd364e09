"""What CAM and Grad-CAM cost over the plain forward pass, next to other libraries.

Everything is timed in this one run, interleaved: forward, method, forward, method, ... A time is
given as the median of the paired ratios to the forward pass beside it. One thread, CPU, random
pixels, and GoogLeNet with random weights: the cost does not depend on what is in the picture.
Memory is the most that tensors take at once during a call, as torch's profiler counts it.
"""

import platform
import statistics
from collections.abc import Callable

import captum
import timm
import torch
import torchcam.methods
from captum.attr import LayerGradCam
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor
from torchcam.methods import CAM

from camlib import cam, gradients, networks
from camlib.cost import paired_ratio, peak_memory, seconds

CLASS = 967
REPEATS = {1: 40, 16: 8}

# Each method makes a call from a network, its images, and the layer of its last map.


def forward(network, images: Tensor, layer: str = "") -> Callable[[], object]:
    def run():
        with torch.no_grad():
            return network(images)

    return run


def camlib_cam(network, images: Tensor, layer: str) -> Callable[[], object]:
    return lambda: cam.class_activation_maps(network, images)


def torchcam_cam(network, images: Tensor, layer: str) -> Callable[[], object]:
    extractor = CAM(network, target_layer=layer, fc_layer="classifier")

    def run():
        with torch.no_grad():
            scores = network(images)
            return extractor(scores.argmax(dim=1).tolist(), scores, normalized=False)

    return run


def camlib_grad_cam(network, images: Tensor, layer: str) -> Callable[[], object]:
    return lambda: gradients.grad_cam(network, images, layer)


def torchcam_grad_cam(network, images: Tensor, layer: str) -> Callable[[], object]:
    extractor = torchcam.methods.GradCAM(network, target_layer=layer)

    def run():
        scores = network(images)
        return extractor(scores.argmax(dim=1).tolist(), scores, normalized=False)

    return run


def pytorch_grad_cam(network, images: Tensor, layer: str) -> Callable[[], object]:
    method = GradCAM(network, [network.get_submodule(layer)])
    return lambda: method(images, [ClassifierOutputTarget(CLASS)] * len(images))


def captum_grad_cam(network, images: Tensor, layer: str) -> Callable[[], object]:
    method = LayerGradCam(network, network.get_submodule(layer))
    return lambda: method.attribute(images, target=CLASS)


METHODS = {
    "forward": forward,
    "camlib CAM": camlib_cam,
    "torchcam CAM": torchcam_cam,
    "camlib Grad-CAM": camlib_grad_cam,
    "torchcam GradCAM": torchcam_grad_cam,
    "pytorch-grad-cam GradCAM": pytorch_grad_cam,
    "captum LayerGradCam": captum_grad_cam,
}
LAST_MAPS = {"lite0": "bn2", "googlenet": "features.inception5b"}


def made(method: str, name: str, batch: int) -> Callable[[], object]:
    """The method with a network of its own (the libraries leave hooks) and its images."""
    torch.manual_seed(0)
    network, images = networks.create(name), torch.randn(batch, 3, 224, 224)
    return METHODS[method](network, images, LAST_MAPS[name])


def against_other_libraries(name: str) -> None:
    print(f"\n{name} at 224, top class: time over a forward pass, memory over it (MiB)")
    print(f"{'':26}{'batch 1':>18}{'batch 16':>18}")
    plain_peak = {batch: peak_memory(made("forward", name, batch)) for batch in REPEATS}
    for method in METHODS:
        cells = []
        for batch, repeats in REPEATS.items():
            ratio = paired_ratio(made(method, name, batch), made("forward", name, batch), repeats)
            extra = peak_memory(made(method, name, batch)) - plain_peak[batch]
            cells.append(f"{ratio:8.2f} {extra:+8.1f}")
        print(f"{method:26}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def agreement() -> None:
    """Raw maps of 20 classes against torchcam and an einsum, relative to the largest value."""
    torch.manual_seed(0)
    network = networks.create("lite0")
    images = torch.randn(4, 3, 224, 224)
    classes = torch.arange(0, 1000, 50)
    maps = cam.class_activation_maps(network, images, classes.expand(4, -1)).maps
    with torch.no_grad():
        einsum = torch.einsum(
            "ck,nkhw->nchw", network.classifier.weight[classes], network.forward_features(images)
        )
        extractor = CAM(network, target_layer="bn2", fc_layer="classifier")
        scores = network(images)
        theirs = torch.stack(
            [extractor([int(c)] * 4, scores, normalized=False)[0] for c in classes], dim=1
        )
    size = maps.abs().amax(dim=(2, 3))
    print("\nlargest difference of raw maps, relative to each map's largest value")
    for name, other in (("einsum", einsum), ("torchcam", theirs)):
        print(f"{name:26}{((maps - other).abs().amax(dim=(2, 3)) / size).max():18.1e}")


def growth() -> None:
    """The same ratio over batch, classes and input size."""
    torch.manual_seed(0)
    network = networks.create("lite0")

    def row(label: str, batch: int, classes: int, size: int, repeats: int) -> None:
        images = torch.randn(batch, 3, size, size)
        wanted = torch.arange(classes).expand(batch, -1)
        ratio = paired_ratio(
            lambda: cam.class_activation_maps(network, images, wanted),
            forward(network, images),
            repeats,
        )
        milliseconds = 1000 * statistics.median(seconds(forward(network, images)) for _ in range(3))
        print(f"{label:26}{ratio:8.2f}{milliseconds:12.0f}")

    print(f"\ncamlib CAM as the work grows{'':3}ratio   forward (ms)")
    for batch in (1, 4, 16, 64):
        row(f"batch {batch}, 1 class, 224", batch, 1, 224, max(4, 40 // batch))
    for classes in (1, 10, 100, 1000):
        row(f"batch 1, classes {classes}, 224", 1, classes, 224, 30)
    row("batch 16, classes 1000, 224", 16, 1000, 224, 6)
    for size in (224, 320, 448, 640):
        row(f"batch 1, 1 class, {size}", 1, 1, size, 20)


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, timm {timm.__version__}, "
        f"torchcam {torchcam.__version__}, captum {captum.__version__}, "
        f"{platform.machine()}, one thread"
    )
    agreement()
    for name in LAST_MAPS:
        against_other_libraries(name)
    growth()


if __name__ == "__main__":
    main()
