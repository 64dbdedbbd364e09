"""Checkpoints of full-scale training: written whole, found again, compared, opened as a network."""

import hashlib
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camlib import training
from camlib.fullscale_data import create_network

FORMAT = "camlib.fullscale checkpoint 1"


# ---- files ----


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the last one first."""
    return sorted((folder / "checkpoints").glob(f"step-{'[0-9]' * 8}.ckpt"), reverse=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint of a run, or None where it has none; damaged ones are passed by.

    Raises:
        ValueError: if there are checkpoints, and all of them are damaged.
    """
    found = checkpoints(folder)
    for path in found:
        if _is_whole(path):
            return path
        print(f"camlib: {path} is damaged and not used", file=sys.stderr)
    if found:
        raise ValueError(f"train: all {len(found)} checkpoints in {folder} are damaged")
    return None


def _is_whole(path: Path) -> bool:
    """Whether the checksums in a checkpoint are those of its content: torch does not look."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def checkpoint_to_resume(folder: Path, resume: bool) -> tuple[Path, dict[str, Any]] | None:
    """The last whole checkpoint of a run and what it holds; None where a run begins.

    Raises:
        ValueError: if the folder is a file, or not empty where nothing is to be resumed, or all of
            its checkpoints are damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"train: the output {folder} is a file, expected a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return None
    if not resume:
        raise ValueError(
            f"train: the folder {folder} is not empty: resume the training that is in it "
            "(--resume), or give another folder"
        )
    path = last_checkpoint(folder)
    return None if path is None else (path, load_checkpoint(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    Raises:
        ValueError: if it is none, or damaged.
    """
    try:
        if not _is_whole(path):
            raise ValueError(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
    except Exception as error:
        raise ValueError(
            f"{path} is no checkpoint of camlib train, or damaged ({type(error).__name__})"
        ) from error
    known: dict[str, Any] = content
    return known


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after so many steps is."""
    return folder / "checkpoints" / f"step-{step:08d}.ckpt"


def save_checkpoint(folder: Path, keep: int, content: dict[str, Any]) -> None:
    """Write the checkpoint after `content["step"]` steps; of those up to it the last `keep` stay.

    Raises:
        OSError: if it cannot be written.
    """
    path = checkpoint_path(folder, content["step"])
    training.write_checkpoint("train", path, {"format": FORMAT, **content})
    # Later ones were damaged, or this step would not be made again: they count for nothing.
    for old in [other for other in checkpoints(folder) if other <= path][keep:]:
        old.unlink()


# ---- of which training ----


def identity(network: Any, data: Any, recipe: Any, size: int, precision: str) -> dict[str, Any]:
    """What must be the same for a training to go on: by value, or as a hash."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    learned = [name for name, p in network.named_parameters() if p.requires_grad]
    described = [str(network), shapes, learned, repr(network.transform)]
    classes = hashlib.sha256("\n".join(map(str, data.classes)).encode()).hexdigest()
    return {
        "recipe": asdict(recipe),
        "network": {
            "name": network_name(network),
            "layers": hashlib.sha256(repr(described).encode()).hexdigest()[:12],
        },
        "data set": {"images": len(data), "classes": classes[:12]},
        "input": {"size": size, "precision": precision},
    }


def network_name(network: Any) -> str:
    """The name by which it was created, or its type's."""
    return str(getattr(network, "name", type(network).__name__))


def expect_same(
    path: Path,
    content: dict[str, Any],
    ours: dict[str, Any],
    network: nn.Module,
    processes: int,
    accumulate: int,
) -> None:
    """Refuse a checkpoint from which a training cannot go on as if it had never stopped.

    Args:
        path: of the checkpoint.
        content: what it holds.
        ours: the training's `identity`.
        network: that is trained.
        processes, accumulate: of the training.

    Raises:
        ValueError: if it is of another training, or the parts of a batch are others and count.
    """
    different = [
        f"{what}: {name} is {_shown(ours[what], name)} and was {_shown(theirs, name)}"
        for what, theirs in content["identity"].items()
        for name in sorted({*theirs, *ours[what]})
        if theirs.get(name) != ours[what].get(name)
    ]
    if different:
        raise ValueError(
            f"train: {path} is of another training, so it cannot be resumed: "
            f"{'; '.join(different)}. Give what it was started with, or another folder"
        )
    before = content["processes"]
    other_parts = before * content["accumulate"] != processes * accumulate
    why = None
    if processes != before and _has(network, "norm"):
        why = "batch norm keeps the statistics of the first process"
    elif other_parts and (_has(network, "norm") or _has(network, "drop")):
        why = "batch norm and dropout see the parts of a batch"
    if why:
        raise ValueError(
            f"train: {path} was written by {before} processes with accumulate "
            f"{content['accumulate']}, this is {processes} with {accumulate}, and the "
            f"result would be another, for {why}. Start as many processes as before"
        )


def _shown(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "not given"


def _has(network: nn.Module, kind: str) -> bool:
    """Whether a layer is batch norm ("norm") or drops something by chance ("drop")."""
    if kind == "norm":
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    return any("drop" in type(m).__name__.lower() for m in network.modules())


# ---- as a network ----


def open_network(
    source: str | Path,
    num_classes: int | None = None,
    pretrained: bool = False,
    scale: str = "paper",
) -> Any:
    """A network by name, or from a checkpoint: the file, or the folder of its run.

    Args:
        source: a path that exists, else a name, see `fullscale_data.create_network`.
        num_classes, pretrained, scale: of a network by name.

    Raises:
        ValueError: if it is neither, or the checkpoint does not fit the network it names.
        OSError: if a file cannot be read, or weights cannot be downloaded.
    """
    path = Path(source)
    if not path.exists():
        if re.search(r"[/\\]|\.ckpt$", str(source)):
            raise ValueError(f"there is no checkpoint {source}")
        return create_network(str(source), num_classes, pretrained, scale)
    if path.is_dir():
        found = last_checkpoint(path)
        if found is None:
            raise ValueError(f"there is no checkpoint in {path}: expected the folder of a run")
        path = found
    content = load_checkpoint(path)
    made = content["made"]
    network = create_network(
        made["name"],
        len(made["classes"]),
        scale="paper" if made["scale"] == "timm" else made["scale"] or "paper",
    )
    network.load_state_dict(content["weights"])
    network.classes, network.input_size = tuple(made["classes"]), made["size"]
    return network
