"""The run card of a full-scale training: what was done, with what, and how it ended."""

import json
import platform
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any


def versions() -> dict[str, str]:
    """Of Python and of what decides the numbers."""
    found = {"python": platform.python_version()}
    for name in ("camlib", "torch", "torchvision", "timm", "lightning-fabric", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from its folder: no reason to lose a card
            found[name] = "not installed"
    return found


def write_card(folder: Path, card: dict[str, Any], recipe: Any) -> None:
    """Write the card as run.json, and as run.md to read.

    Args:
        folder: of the run.
        card: what `fullscale.train` puts together.
        recipe: see `fullscale.Recipe`; run.md leaves out what is as by default.

    Raises:
        OSError: if a file cannot be written; one from before is left as it is.
    """
    write_text(folder / "run.json", json.dumps(card, indent=1) + "\n")
    write_text(folder / "run.md", _text(card, recipe))


def write_text(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there: no moment sees half a file."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def _text(card: dict[str, Any], recipe: Any) -> str:
    network, data, metrics = card["network"], card["data"], card["metrics"]
    plain = type(recipe)(epochs=1, rate=1.0)
    changed = [
        f"{f.name} {getattr(recipe, f.name)}"
        for f in fields(recipe)
        if f.name in ("epochs", "rate", "batch", "seed", "optimizer")
        or getattr(recipe, f.name) != getattr(plain, f.name)
    ]
    valid = metrics["valid_accuracy"]
    lines = [
        f"# {network['name']} on {data['name']}",
        "",
        f"- command: `{card['command']}`" if card["command"] else "- called from Python",
        f"- network: {network['name']}, scale {network['scale']}, {network['parameters']:,} "
        f"parameters, input {network['input_size']} x {network['input_size']}",
        f"- data: {data['name']}, {data['images']:,} images, {data['classes']:,} classes",
        f"- recipe: {', '.join(changed)}",
        f"- carried out: {card['steps']:,} steps, {card['processes']} processes, accumulate "
        f"{card['accumulate']}, {card['precision']}, {card['device']}",
        f"- throughput: {card['images_per_second']:.1f} images/s, {card['seconds'] / 60:.1f} min",
        f"- last epoch: training loss {metrics['loss']:.4f}, training accuracy "
        f"{metrics['accuracy']:.4f}" + ("" if valid is None else f", validation {valid:.4f}"),
        "- versions: " + ", ".join(f"{k} {v}" for k, v in card["versions"].items()),
        f"- finished: {card['finished']}",
        f"- weights: {card['checkpoint']}",
    ]
    return "\n".join(lines) + "\n"
