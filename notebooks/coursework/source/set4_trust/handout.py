"""What is handed out with problem set 4: small networks, the network under suspicion, adapters.

An adapter calls your function where what it takes is no plain number or array, and looks at what
your function has left behind.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CLASSES = (
    "stripes",
    "fine stripes",
    "checks",
    "fine checks",
    "dots",
    "rings",
    "zigzags",
    "waves",
    "grid",
    "bricks",
    "dashes",
    "honeycomb",
    "triangles",
    "scales",
    "crosses",
    "stars",
)
DTYPES: dict[str, Any] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}


# ---- the network and the pictures ----


def block(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """A convolution with batch norm and ReLU."""
    layers = nn.Sequential()
    layers.add_module("conv", nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False))
    layers.add_module("norm", nn.BatchNorm2d(outputs))
    layers.add_module("relu", nn.ReLU(inplace=True))
    return layers


class Suspect(nn.Module):
    """The lab's AlexNet-GAP: pictures (N, 3, 96, 96) to a map (N, 128, 12, 12) to 16 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for name, layer in {
            "conv1": block(3, 24, 7, 2),
            "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
            "conv2": block(24, 48, 5),
            "pool2": nn.MaxPool2d(3, 2, ceil_mode=True),
            "conv3": block(48, 96, 3),
            "conv4": block(96, 64, 3),
            "conv5": block(64, 64, 3),
            "cam_conv1": block(64, 128, 3),
        }.items():
            self.features.add_module(name, layer)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(128, len(CLASSES))

    def forward_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.head(features))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Linear:
        return self.classifier


def load_network() -> Suspect:
    """The network under suspicion, in evaluation mode."""
    network = Suspect()
    # What is not stored counts batches in training and is of no use here.
    network.load_state_dict(network.state_dict() | stored("network.safetensors"))
    return network.eval()


def load_pictures() -> tuple[Tensor, Tensor]:
    """Pictures, uint8 (256, 3, 96, 96), and their labels, (256,)."""
    found = stored("pictures.safetensors")
    return found["images"], found["labels"]


def normalise(images: Tensor) -> Tensor:
    """Pictures as the network takes them: float32, from -1 to 1."""
    return images.float() / 127.5 - 1


def cell_of(number: int) -> tuple[slice, slice]:
    """Rows and columns of a cell of a picture: 3 x 3 cells of 32 x 32 pixels, row by row."""
    y, x = 32 * (number // 3), 32 * (number % 3)
    return slice(y, y + 32), slice(x, x + 32)


def stored(name: str) -> dict[str, Tensor]:
    """The tensors of a file in the format safetensors, by name."""
    places = [Path.cwd() / name, Path(__file__).parent / name]
    found = [path for path in places if path.exists()]
    if not found:
        raise FileNotFoundError(
            f"{name} is not in this folder. It belongs to the set as your course released it, in "
            "the same zip file as the notebook: copy it here. (Teachers: course-release makes it.)"
        )
    content = found[0].read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = {}
    for key, about in json.loads(content[8:start]).items():
        if key != "__metadata__":
            first, last = (start + offset for offset in about["data_offsets"])
            values = np.frombuffer(content[first:last], DTYPES[about["dtype"]])
            tensors[key] = torch.from_numpy(values.reshape(about["shape"]).copy())
    return tensors


# ---- small networks of several kinds ----


class Residual(nn.Module):
    """ReLU(x + convolution of x)."""

    def __init__(self, conv: nn.Module, inplace: bool) -> None:
        super().__init__()
        self.conv, self.relu = conv, nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(x + self.conv(x))
        return out


class Small(nn.Module):
    """Convolutions, then a head of one of three kinds.

    Args:
        weights: by name: conv1.weight (K1, 3, 3, 3), conv2.weight (K, K1, 3, 3) and, where there
            is a residual block, res.weight (K, K, 3, 3), each with a bias; fc.weight and fc.bias.
            With the head "flat" also hidden.weight and hidden.bias, between the map and fc.
        head: "average", "maximum" or "flat" (the map written in one row, as for FC layers).
        inplace: whether each ReLU overwrites what it gets.
    """

    def __init__(self, weights: dict[str, Tensor], head: str, inplace: bool) -> None:
        super().__init__()

        def filled(layer: Any, name: str) -> Any:
            layer.weight.data = weights[f"{name}.weight"].clone()
            layer.bias.data = weights[f"{name}.bias"].clone()
            return layer

        def conv(name: str) -> Any:
            outputs, inputs = weights[f"{name}.weight"].shape[:2]
            return filled(nn.Conv2d(inputs, outputs, 3, padding=1), name)

        def linear(name: str) -> Any:
            outputs, inputs = weights[f"{name}.weight"].shape
            return filled(nn.Linear(inputs, outputs), name)

        layers = {"conv1": conv("conv1"), "relu1": nn.ReLU(inplace), "pool": nn.MaxPool2d(2)}
        layers |= {"conv2": conv("conv2"), "relu2": nn.ReLU(inplace)}
        if "res.weight" in weights:
            layers["block"] = Residual(conv("res"), inplace)
        self.features = nn.Sequential()
        for name, layer in layers.items():
            self.features.add_module(name, layer)
        self.head = nn.Sequential()
        if head == "average":
            self.head.add_module("pool", nn.AdaptiveAvgPool2d(1))
        if head == "maximum":
            self.head.add_module("pool", nn.AdaptiveMaxPool2d(1))
        self.head.add_module("flatten", nn.Flatten())
        if head == "flat":
            self.head.add_module("hidden", linear("hidden"))
            self.head.add_module("relu", nn.ReLU(inplace))
            self.head.add_module("dropout", nn.Dropout(0.5))
        self.classifier = linear("fc")

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.head(self.features(images)))
        return logits


def build(case: dict[str, Any]) -> Small:
    """The network of a case, in evaluation mode, its weights frozen if the case says so."""
    network = Small(case["weights"], case["head"], case["inplace"]).eval()
    return network.requires_grad_(not case["frozen"])


# ---- adapters ----


def saliency_of(function: Callable[..., Any], cases: dict[str, Any]) -> dict[str, Any]:
    """Your `saliency` on several networks: its maps, and what it has left behind."""
    return {name: _run(function, case, False) for name, case in cases.items()}


def grad_cam_of(function: Callable[..., Any], cases: dict[str, Any]) -> dict[str, Any]:
    """Your `grad_cam` on several networks: its maps, and what it has left behind."""
    return {name: _run(function, case, True) for name, case in cases.items()}


def _run(function: Callable[..., Any], case: dict[str, Any], layer: bool) -> dict[str, Any]:
    network, images, classes = build(case), case["images"].clone(), case["classes"].clone()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad() if case["no_grad"] else torch.enable_grad():
        asked = (images, case["layer"], classes) if layer else (images, classes)
        maps = function(network, *asked)
    return {"maps": maps, "left behind": _left(network, before, case, images)}


def _left(network: Small, before: dict[str, Tensor], case: dict[str, Any], images: Tensor) -> str:
    """What a function has left on network and images, in words."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    now = network.state_dict()
    weights = list(network.parameters())
    traces = {
        "a hook": any(getattr(module, kind) for module in network.modules() for kind in kinds),
        "a gradient on the weights": any(p.grad is not None for p in weights),
        "weights frozen or freed": any(p.requires_grad == case["frozen"] for p in weights),
        "another mode": any(module.training for module in network.modules()),
        "other weights": any(not torch.equal(now[key], before[key]) for key in before),
        "a gradient on the images": images.requires_grad or images.grad is not None,
        "other images": not torch.equal(images.detach(), case["images"]),
    }
    return ", ".join(what for what, there in traces.items() if there) or "nothing"


def equality_of(
    function: Callable[..., Any], activations: Tensor, gradients: dict[str, Tensor]
) -> dict[str, Any]:
    """Your `cam_from_gradients` under each pooling."""
    return {
        pooling: function(activations.clone(), own.clone(), pooling)
        for pooling, own in gradients.items()
    }


def deletion_of(
    function: Callable[..., Any],
    weight: Tensor,
    bias: Tensor,
    image: Tensor,
    fill: Tensor,
    order: Tensor,
    steps: int,
) -> dict[str, Any]:
    """Your `deletion_area` with the probability of class 0 of a small network as score."""

    def score(picture: Any) -> float:
        values = torch.as_tensor(picture).detach().double()
        if values.shape != image.shape:
            shape = tuple(image.shape)
            raise ValueError(f"score takes a picture {shape}, got {tuple(values.shape)}")
        logits = weight.double() @ values.flatten().tanh() + bias.double()
        return float(logits.softmax(dim=0)[0])

    given = [tensor.clone() for tensor in (image, fill, order)]
    area = function(score, *given, steps)
    changed = [
        name
        for name, now, was in zip(
            ("the image", "the fill", "the order"), given, (image, fill, order), strict=True
        )
        if not torch.equal(now, was)
    ]
    return {"area": area, "changed": ", ".join(changed) or "nothing"}
