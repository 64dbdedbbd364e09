"""Files for the explorers on the web pages: the scenes as JSON, small enough for a phone.

Features, class vectors and maps are stored in half precision, in base64: with features in bytes,
some maps would be off by more than a thousandth of their range.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from camlib import scenes


def explorers(folder: Path) -> None:
    """Write one file for each scene and comparison, and `index.json` with their names and titles.

    Args:
        folder: is made where it is missing; files of the same names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    heads = scenes.heads()
    photographs, lab = scenes.of_photos(), scenes.of_lab()
    for scene in (*photographs, *lab):
        data = described(scene) | {
            "shape": list(scene.features.shape),
            "features": halves(scene.features),
            "weight": halves(scene.weight),
            "bias": scene.bias.tolist(),
            "logits": scene.logits.tolist(),
            "probabilities": scene.probabilities.tolist(),
            "heads": [
                {
                    "name": head.name,
                    "label": head.label,
                    "map": halves(head.map),
                    "bias": head.bias,
                    "logit": head.logit,
                }
                for head in heads.get(scene.name, ())
            ],
        }
        _write(folder, scene.name, data)
    comparisons = scenes.comparisons()
    for comparison in comparisons:
        maps = {
            method: {"shape": list(found.shape), "values": halves(found)}
            for method, found in comparison.maps.items()
        }
        _write(folder, comparison.name, described(comparison) | {"maps": maps})
    groups: dict[str, Sequence[scenes.Scene | scenes.Comparison]] = {
        "photos": photographs,
        "lab": lab,
        "comparisons": comparisons,
    }
    listed = {
        group: [{"name": scene.name, "title": scene.title} for scene in found]
        for group, found in groups.items()
    }
    _write(folder, "index", listed)


def described(scene: scenes.Scene | scenes.Comparison) -> dict[str, Any]:
    """What a scene and a comparison have in common: the picture, the classes, the true boxes."""
    return {
        "name": scene.name,
        "title": scene.title,
        "credit": scene.credit,
        "size": scene.view.width,
        "picture": picture(scene.view),
        "classes": list(scene.classes),
        "boxes": [found.round().int().tolist() for found in scene.boxes],
    }


def picture(image: Image.Image) -> str:
    """The image as WebP, in a data address."""
    file = io.BytesIO()
    image.save(file, "WEBP", quality=82, method=6)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def halves(values: Tensor) -> str:
    """Half-precision numbers, little endian, in base64, row by row."""
    return _base64(values.to(torch.float16).contiguous().numpy().astype("<f2").tobytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _write(folder: Path, name: str, data: Mapping[str, Any] | Sequence[Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(data, separators=(",", ":")))
