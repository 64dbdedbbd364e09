"""Photographs that ship with scikit-image, scikit-learn and matplotlib, and how pictures are read.

Each bundled photograph comes with a credit, a licence, what is in it, and hand-made boxes of its
main objects, drawn by looking at the pictures, to about three pixels.
"""

import difflib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

ImageLike = Image.Image | NDArray[Any] | Tensor | str | PathLike[str]


@dataclass(frozen=True)
class PhotoObject:
    """A thing in a photograph.

    Attributes:
        label: what it is, in plain words.
        box: (x0, y0, x1, y1) in pixels of the whole photograph, half-open; cut at its border.
        class_name: the ImageNet class it belongs to, None where ImageNet has none.
        stand_in: where ImageNet has none: the class a network trained on it may be expected to
            answer with. It is wrong, and useful: its map can still lie on the object.
    """

    label: str
    box: tuple[int, int, int, int]
    class_name: str | None = None
    stand_in: str | None = None


@dataclass(frozen=True)
class Photo:
    """A bundled photograph: where its file lies, who made it, and what is in it."""

    name: str
    path: Path
    credit: str
    licence: str
    objects: tuple[PhotoObject, ...] = ()

    @property
    def image(self) -> Image.Image:
        """The photograph, upright, RGB."""
        return read(self.path)


def _folder_of(package: str) -> Path:
    """Where an installed package lies, without importing it: that would take a second or two."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"camlib.photos: {package}, which ships photographs, is missing")
    return Path(spec.origin).parent


_SKIMAGE = _folder_of("skimage") / "data"
_SKLEARN = _folder_of("sklearn") / "datasets" / "images"
_MATPLOTLIB = Path(matplotlib.get_data_path()) / "sample_data"
_CC_BY = "CC BY 2.0; shown here cropped and under maps"

_PHOTOS = (
    Photo(
        "astronaut",
        _SKIMAGE / "astronaut.png",
        "Eileen Collins, NASA Great Images; shipped with scikit-image",
        "public domain",
        (
            PhotoObject("helmet of a space suit", (278, 343, 512, 512), stand_in="football helmet"),
            PhotoObject("model of a space shuttle", (352, 0, 458, 273), "space shuttle"),
            PhotoObject("space suit", (18, 147, 366, 512)),
        ),
    ),
    Photo(
        "brick",
        _SKIMAGE / "brick.png",
        "CC0Textures, Bricks25; shipped with scikit-image",
        "CC0",
    ),
    Photo(
        "camera",
        _SKIMAGE / "camera.png",
        "Lav Varshney; shipped with scikit-image",
        "CC0",
        (
            PhotoObject("tripod", (228, 186, 406, 512), "tripod"),
            PhotoObject("man", (0, 62, 332, 512)),
        ),
    ),
    Photo(
        "chelsea",
        _SKIMAGE / "chelsea.png",
        "Stefan van der Walt; shipped with scikit-image",
        "CC0",
        (PhotoObject("cat with a striped coat", (0, 0, 398, 300), "tiger cat"),),
    ),
    Photo(
        "china",
        _SKLEARN / "china.jpg",
        "danielbuechele, Flickr 6061409035; shipped with scikit-learn",
        _CC_BY,
        (PhotoObject("tower of the Summer Palace", (57, 29, 370, 424), "palace"),),
    ),
    Photo(
        "coffee",
        _SKIMAGE / "coffee.png",
        "Rachel Michetti, courtesy of Pikolo Espresso Bar; shipped with scikit-image",
        "CC0",
        (
            PhotoObject("cup", (172, 17, 407, 307), "cup"),
            PhotoObject("espresso in the cup", (201, 95, 368, 194), "espresso"),
            PhotoObject("saucer", (77, 67, 480, 389)),
        ),
    ),
    Photo(
        "coins",
        _SKIMAGE / "coins.png",
        "Greek coins from Pompeii, Brooklyn Museum; shipped with scikit-image",
        "no known copyright restrictions",
    ),
    Photo(
        "flower",
        _SKLEARN / "flower.jpg",
        "vultilion, Flickr 6056698931; shipped with scikit-learn",
        _CC_BY,
        (
            PhotoObject("dahlia", (168, 85, 446, 360), stand_in="daisy"),
            PhotoObject("second dahlia, cut off", (286, 373, 470, 427), stand_in="daisy"),
        ),
    ),
    Photo(
        "grace_hopper",
        _MATPLOTLIB / "grace_hopper.jpg",
        "Grace Hopper, official portrait, United States Navy; shipped with matplotlib",
        "public domain",
        (PhotoObject("navy uniform with cap", (12, 22, 512, 600), "military uniform"),),
    ),
    Photo(
        "hubble",
        _SKIMAGE / "hubble_deep_field.jpg",
        "Hubble eXtreme Deep Field, NASA; shipped with scikit-image",
        "public domain",
    ),
    Photo(
        "motorcycle",
        _SKIMAGE / "motorcycle_left.png",
        "Middlebury 2014 stereo benchmark (Nesic and others); shipped with scikit-image",
        "none stated: for your own runs, not for publication",
        (PhotoObject("motorcycle", (92, 14, 684, 452), stand_in="moped"),),
    ),
    Photo(
        "page",
        _SKIMAGE / "page.png",
        "scan of a printed page; shipped with scikit-image",
        "none stated: for your own runs, not for publication",
    ),
    Photo(
        "retina",
        _SKIMAGE / "retina.jpg",
        "Mikael Häggström, WikiJournal of Medicine 2014; shipped with scikit-image",
        "CC0",
    ),
    Photo(
        "rocket",
        _SKIMAGE / "rocket.jpg",
        "Falcon 9 with DSCOVR, SpaceX; shipped with scikit-image",
        "public domain",
        (PhotoObject("rocket", (309, 128, 337, 407), stand_in="missile"),),
    ),
)

NAMES = tuple(photo.name for photo in _PHOTOS)


def load(name: str) -> Photo:
    """The bundled photograph of that name (one of `photos.NAMES`).

    Raises:
        ValueError: if there is none of that name.
    """
    for photo in _PHOTOS:
        if photo.name == name:
            return photo
    hint = did_you_mean(str(name), NAMES)
    raise ValueError(f"photos.load: there is no photograph {name!r}{hint}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """An ending for an error: the nearest known names, or all of them where they are few."""
    known = list(dict.fromkeys(known))
    # A word of a name first: "cat" is nearer to "crate" than to "tiger cat", letter by letter.
    near = [k for k in known if name.lower() in k.lower().split()][:5]
    if not near:
        lower = {k.lower(): k for k in known}
        near = [lower[k] for k in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.7)]
    if near:
        return ": did you mean " + " or ".join(f'"{k}"' for k in near) + "?"
    return f" (there are: {', '.join(known)})" if len(known) <= 20 else ""


def read(image: ImageLike) -> Image.Image:
    """Any usual picture as an upright RGB image with 8 bits a channel.

    Files and PIL images: rotated as their EXIF says; transparency is laid on white; greyscale,
    palette and CMYK become RGB; 16-bit values are divided by 257; of an animation the first
    frame is taken.
    Arrays (h, w), (h, w, 3) or (h, w, 4) and tensors (3, h, w) or (1, h, w): uint8, uint16, bool,
    or floats between 0 and 1.

    Raises:
        FileNotFoundError: if the path leads to no file.
        ValueError: if the file or array is not such a picture.
    """
    if isinstance(image, str | PathLike):
        return _read_file(Path(image))
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] not in (1, 3):
            raise ValueError(
                f"photos.read: got a tensor of shape {tuple(image.shape)}, expected one picture, "
                "(3, h, w) or (1, h, w)"
            )
        array = image.detach().cpu().permute(1, 2, 0).numpy()
        return _from_array(array[:, :, 0] if array.shape[2] == 1 else array)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _upright_rgb(image)
    raise ValueError(
        f"photos.read: got {type(image).__name__}, expected a PIL image, an array, a tensor or a "
        "path"
    )


def _read_file(path: Path) -> Image.Image:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected an image file")
    try:
        with Image.open(path) as opened:
            return _upright_rgb(opened)
    except UnidentifiedImageError:
        raise ValueError(
            f"{path} is not an image that Pillow can read: convert it to JPEG or PNG (a phone's "
            "HEIC file too)"
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path} is too large: {error}") from None
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise ValueError(
            f"{path} cannot be read, it may be truncated or damaged: {error}"
        ) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        array = np.asarray(image)
        if image.mode == "I" and array.min() >= 0 and array.max() <= 65535:
            array = array.astype(np.uint16)  # Pillow's way to hold 16 bits in some formats
        return _from_array(array)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(
            f"photos.read: got an array of shape {array.shape}, expected (h, w), (h, w, 3) or "
            "(h, w, 4)"
        )
    if 0 in array.shape:
        raise ValueError(f"photos.read: got an empty array, of shape {array.shape}")
    if array.dtype == np.bool_:
        bytes_ = array.astype(np.uint8) * 255
    elif array.dtype == np.uint8:
        bytes_ = array
    elif array.dtype.kind == "u" and array.dtype.itemsize == 2:
        bytes_ = np.round(array / 257).astype(np.uint8)  # 65535 / 255 = 257
    elif np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1:
        bytes_ = np.round(array * 255).astype(np.uint8)
    else:
        raise ValueError(
            f"photos.read: got {array.dtype} values between {array.min()} and {array.max()}, "
            "expected uint8, uint16, bool, or floats between 0 and 1"
        )
    return _upright_rgb(Image.fromarray(np.ascontiguousarray(bytes_)))
