"""What problem set 2 hands out: ZFNet of the lab, and how your functions are called with it.

ZFNet is Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
narrowed for pictures of 96 x 96 pixels. This file needs torch alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Named layers that keep places apart, then a head that ends in scores.

    Attributes:
        features: from images (N, 3, h, w) to the last map (N, K, H, W).
        head: from the last map to scores (N, C); its last layer is linear.
    """

    def __init__(self, features: nn.Sequential, head: nn.Sequential):
        super().__init__()
        self.features, self.head = features, head

    def forward_features(self, images: Tensor) -> Tensor:
        return self.features(images)

    def forward_head(self, features: Tensor) -> Tensor:
        return self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        return self.head[-1]


def _block(inputs: int, outputs: int, kernel: int, padding: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    parts = {"conv": convolution, "norm": nn.BatchNorm2d(outputs), "relu": nn.ReLU(inplace=True)}
    return nn.Sequential(OrderedDict(parts))


def zfnet(
    widths: Sequence[int] = (16, 48, 96, 96, 64),
    units: int = 192,
    num_classes: int = 16,
    size: tuple[int, int] = (96, 96),
) -> Network:
    """ZFNet at the scale of the lab, with random weights, in evaluation mode.

    Kernels, paddings and poolings are those of 2014. Other than there: fewer channels and units,
    stride 1 in conv2 (with 2 no more than 5 x 5 cells would be left of 96 pixels), batch norm in
    the place of contrast normalisation, in the FC layers too, and no dropout.

    Args:
        widths: channels of the five convolutions.
        units: of fc6 and fc7.
        num_classes: of fc8.
        size: of the images, (h, w); the head takes no other.
    """
    layers: dict[str, nn.Module] = {}
    channels = 3
    for number, width in enumerate(widths, 1):
        kernel, padding, stride = {1: (7, 1, 2), 2: (5, 0, 1)}.get(number, (3, 1, 1))
        layers[f"conv{number}"] = _block(channels, width, kernel, padding, stride)
        if number in (1, 2, 5):
            layers[f"pool{number}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        channels = width
    features = nn.Sequential(OrderedDict(layers)).eval()
    with torch.no_grad():
        numbers = features(torch.zeros(1, 3, *size)).numel()
    head: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for name in ("fc6", "fc7"):
        parts = {
            "linear": nn.Linear(numbers, units, bias=False),
            "norm": nn.BatchNorm1d(units),
            "relu": nn.ReLU(inplace=True),
        }
        head[name], numbers = nn.Sequential(OrderedDict(parts)), units
    head["fc8"] = nn.Linear(units, num_classes)
    network = Network(features, nn.Sequential(OrderedDict(head)))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(network.head.fc8.weight, std=0.01)  # no class starts ahead
    nn.init.zeros_(network.head.fc8.bias)
    return network.eval()


def _restored(state: dict[str, Tensor], size: tuple[int, int]) -> Network:
    """ZFNet with these parameters and running statistics; its widths are theirs."""
    widths = [len(state[f"features.conv{i}.conv.weight"]) for i in range(1, 6)]
    classes, units = state["head.fc8.weight"].shape
    network = zfnet(widths, units, classes, size)
    network.load_state_dict(state, strict=False)  # batch norm also counts its batches
    return network


def operate(
    gap_form: Callable[..., nn.Module],
    state: dict[str, Tensor],
    cut: str,
    units: int,
    num_classes: int,
    new: dict[str, Tensor],
    images: Tensor,
    others: Tensor,
) -> dict[str, object]:
    """What the GAP form of a network does once its new layers are given these weights.

    Args:
        gap_form: yours.
        state: parameters and running statistics of the original.
        cut, units, num_classes: as `gap_form` gets them.
        new: weight and bias of the new convolution and of the linear layer.
        images, others: two batches; the second of another size.

    Raises:
        ValueError: if there is not one new convolution and one linear layer, or not of that shape.
    """
    network = _restored(state, images.shape[2:])
    form = gap_form(network, cut, units, num_classes)
    if not isinstance(form, nn.Module):
        raise ValueError(f"gap_form gives back {type(form).__name__}, expected a network")
    form.eval()

    def kept(layer: nn.Module) -> bool:
        return any(torch.equal(layer.weight, old) for old in state.values())

    found = {
        "convolution": [m for m in form.modules() if isinstance(m, nn.Conv2d) and not kept(m)],
        "linear": [m for m in form.modules() if isinstance(m, nn.Linear)],
    }
    counts = [len(layers) for layers in found.values()]
    if counts != [1, 1]:
        raise ValueError(
            f"the GAP form has {counts[0]} convolutions with weights that are not the original's, "
            f"and {counts[1]} linear layers; expected one of each"
        )
    first = found["convolution"][0].weight
    if bool((first == first.flatten()[0]).all()):
        raise ValueError("all weights of the new convolution are equal, and would stay so")
    trained = sum(p.numel() for p in form.parameters() if p.requires_grad)
    with torch.no_grad():
        for kind, (layer,) in found.items():
            for part in ("weight", "bias"):
                given, place = new[f"{kind}.{part}"], getattr(layer, part)
                shape = None if place is None else tuple(place.shape)
                if shape != tuple(given.shape):
                    raise ValueError(
                        f"the {part} of the new {kind} has the shape {shape}, expected "
                        f"{tuple(given.shape)}"
                    )
                place.copy_(given)
        features = form.forward_features(images).clone()
        answer: dict[str, object] = {
            "map": features,
            "scores": form(images).clone(),
            "scores of twice the map": form.forward_head(2 * features).clone(),
            "scores of another size": form(others).clone(),
            "weights of the classes": form.get_classifier().weight.clone(),
            "parameters that train": trained,
        }
        for tensor in (*form.parameters(), *form.buffers()):
            if tensor.is_floating_point():
                tensor.add_(1)  # as training would change them
        answer["scores of the original afterwards"] = network(images)
    return answer


def _named(shapes: dict[str, list[int]]) -> nn.Module:
    """A network whose parameters have these names and shapes; it can do nothing else."""
    network = nn.Module()
    for name, shape in shapes.items():
        *path, leaf = name.split(".")
        place = network
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.register_parameter(leaf, nn.Parameter(torch.zeros(*shape)))
    return network


def rates_used(
    rate_groups: Callable[..., list[dict[str, object]]],
    form: dict[str, list[int]],
    original: dict[str, list[int]],
    rate: float,
    share: float,
) -> dict[str, float]:
    """The learning rate that an optimizer has for each parameter, by name; 0 for those left out.

    Args:
        rate_groups: yours; it gets two networks with parameters of these names and shapes.
        form, original: shapes by name.
        rate, share: as `rate_groups` gets them.
    """
    network = _named(form)
    groups = rate_groups(network, _named(original), rate, share)
    used = {name: 0.0 for name in form}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in torch.optim.SGD(groups, lr=rate).param_groups:
        for parameter in group["params"]:
            if id(parameter) not in names:
                raise ValueError("a group holds a parameter that is none of the GAP form's")
            used[names[id(parameter)]] = float(group["lr"])
    return used
