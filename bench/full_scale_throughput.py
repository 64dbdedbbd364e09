"""Images a second at full scale: training steps, reading, the whole command, evaluation.

Chapter 14 shows the results from camlib/results/throughput.json, with the name of the GPU. Images
are JPEGs of 500 x 375, the usual size in ILSVRC, cut from the bundled photographs; the disk's own
speed does not enter, as they are in memory after the first pass. Weights are random: the time does
not depend on them.

- training: the step of `fullscale.train` (forward, backward, SGD) on a batch that lies on the GPU.
- loading: views of the authors' recipe, from JPEG to uint8, by one process, and by a DataLoader's.
- train_command: `camlib train` from disk; the second half of its log, without the batches that the
  workers had ready when training began.
- evaluation: as in bench/evaluation_cost.py.

    python bench/full_scale_throughput.py camlib/results/throughput.json
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import evaluation_cost
import torch
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision.transforms import v2 as transforms

from camlib import fullscale, photos
from camlib.datasets import Folder
from camlib.fullscale_data import TrainingViews, create_network
from camlib.fullscale_evaluation import Evaluation
from camlib.training import normalise

NETWORKS = ("alexnet-gap", "alexnet-star-gap", "vgg16-gap", "googlenet-gap", "nin")
EVALUATED = ("alexnet-gap", "googlenet-gap", "vgg16-gap")
PARTS = ("training", "loading", "train_command", "evaluation")
PRECISIONS = ("32-true", "bf16-mixed")
BATCHES = (64, 256)
IMAGE = (375, 500)  # height and width
CLASSES, EACH, DIFFERENT = 1000, 16, 400
STEPS = 40


def write_images(root: Path) -> None:
    """CLASSES folders with EACH images; DIFFERENT ones, which the others link to."""
    pictures = [photos.load(name).image for name in ("astronaut", "chelsea", "coffee", "rocket")]
    torch.manual_seed(0)
    cut = transforms.RandomResizedCrop(IMAGE, scale=(0.5, 1.0), antialias=True)
    files: list[Path] = []
    for i in range(CLASSES * EACH):
        path = root / f"class{i % CLASSES:04d}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < DIFFERENT:
            cut(pictures[i % len(pictures)]).save(path, quality=98)
            files.append(path)
        else:
            os.link(files[i % DIFFERENT], path)


def training(name: str, precision: str, batch: int) -> dict[str, Any]:
    fabric = fullscale.launched("auto", precision)
    on_gpu = fabric.device.type == "cuda"
    torch.manual_seed(0)
    network = create_network(name, CLASSES).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    model, stepper = fabric.setup(network, optimizer)
    size = network.transform.size
    images = torch.randint(256, (batch, 3, size, size), dtype=torch.uint8, device=fabric.device)
    labels = torch.randint(CLASSES, (batch,), device=fabric.device)

    def step() -> None:
        stepper.zero_grad(set_to_none=True)
        inputs = normalise(images, network).contiguous(memory_format=torch.channels_last)
        fabric.backward(functional.cross_entropy(model(inputs), labels))
        stepper.step()

    def wait() -> None:
        if on_gpu:
            torch.cuda.synchronize()

    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    steps = STEPS if on_gpu else 2
    for _ in range(steps // 2):
        step()
    rounds = []
    for _ in range(3):
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        rounds.append((time.perf_counter() - start) / steps)
    found = {
        "network": name,
        "precision": precision,
        "batch": batch,
        "images_per_second": round(batch / statistics.median(rounds), 1),
    }
    if on_gpu:
        found["memory_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return found


def loading(root: Path, workers: list[int]) -> dict[str, Any]:
    """Views per second and core, and of so many worker processes."""
    views = TrainingViews(
        Folder(root), create_network("googlenet-gap").transform, fullscale.RECIPES["authors"], 224
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    order = torch.randperm(len(views), generator=torch.Generator().manual_seed(1)).tolist()
    start = time.process_time()
    for i in order[:400]:
        views[0, i]
    alone = 400 / (time.process_time() - start)
    torch.set_num_threads(threads)
    together = {}
    for count in workers:
        batches = [
            [(0, i) for i in order[b : b + 64]] for b in range(0, min(len(order), 640 * count), 64)
        ]
        loader = iter(DataLoader(views, batch_sampler=batches, num_workers=count))
        for _ in range(3 * count):  # those that were ready when the workers had started
            next(loader)
        start = time.perf_counter()
        seen = sum(len(images) for images, _ in loader)
        together[str(count)] = round(seen / (time.perf_counter() - start), 1)
    kibibytes = sum(p.stat().st_size for p in root.rglob("*.jpg")) / 1024 / len(views)
    return {
        "image": f"{IMAGE[1]} x {IMAGE[0]} JPEG of {kibibytes:.0f} KiB on average",
        "views_per_second_per_core": round(alone, 1),
        "workers": together,
    }


def train_command(
    root: Path, runs: Path, name: str, precision: str, workers: int, steps: int
) -> dict[str, Any]:
    folder = runs / f"{name}-{precision}-{workers}"
    command = [sys.executable, "-m", "camlib", "train", name, "folder", str(root)]
    command += ["--no-pretrained", "--recipe", "authors", "--steps", str(steps)]
    command += ["--log-every", str(max(1, steps // 20))]
    command += ["--workers", str(workers), "--precision", precision, "--output", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    later = rows[len(rows) // 2 :]
    speed = statistics.harmonic_mean(float(row["images_per_second"]) for row in later)
    return {
        "network": name,
        "precision": precision,
        "workers": workers,
        "images_per_second": round(speed, 1),
    }


def evaluation(name: str, precision: str, data: Any, workers: int) -> dict[str, Any]:
    settings = Evaluation(batch=64, workers=workers, precision=precision, progress=False)
    network = create_network(name, len(data.classes))
    alone, ratio, intervals = evaluation_cost.cost(network, data, settings, 5)
    return {
        "network": name,
        "precision": precision,
        "workers": workers,
        "forward_images_per_second": round(len(data) / alone, 1),
        "ratio": round(ratio, 3),
        "seconds_of_intervals": round(intervals, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--networks", nargs="*", default=NETWORKS)
    parser.add_argument("--steps", type=int, default=500, help="of each run of the command")
    parser.add_argument("--images", type=int, default=2048, help="of the evaluation")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="the others stay")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    on_gpu = torch.cuda.is_available()
    precisions = PRECISIONS if on_gpu else PRECISIONS[:1]
    spare = max(1, cores - 1)
    found: dict[str, Any] = {
        "recipe": {
            "script": "bench/full_scale_throughput.py",
            "steps": options.steps,
            "evaluation_images": options.images,
        },
        "versions": fullscale.versions() | {"cuda": torch.version.cuda or "none"},
        "device": torch.cuda.get_device_name() if on_gpu else f"CPU, {platform.machine()}",
        "cores": cores,
        "threads": torch.get_num_threads(),
    }
    if options.output.exists():
        before = json.loads(options.output.read_text())
        if before["device"] != found["device"]:
            parser.error(f"{options.output} is of another device, {before['device']}")
        found |= {part: before[part] for part in PARTS if part not in options.parts}

    def put(part: str, entry: Any) -> None:
        """Keep it on disk at once: what comes later may fail."""
        if part == "loading":
            found[part] = entry
        else:
            found.setdefault(part, []).append(entry)
        options.output.write_text(json.dumps(found, indent=1) + "\n")
        print(part, json.dumps(entry), flush=True)

    if "training" in options.parts:
        for name, precision, batch in product(options.networks, precisions, options.batches):
            put("training", training(name, precision, batch))
            if on_gpu:
                torch.cuda.empty_cache()
    with tempfile.TemporaryDirectory() as temporary:
        root, runs = Path(temporary) / "images", Path(temporary) / "runs"
        write_images(root)
        if "loading" in options.parts:
            put("loading", loading(root, sorted({1, min(4, cores), min(8, cores), spare})))
        if "train_command" in options.parts:
            for name, precision in product(options.networks, precisions):
                arguments = (root, runs, name, precision, spare, options.steps)
                put("train_command", train_command(*arguments))
    if "evaluation" in options.parts:
        data = evaluation_cost.InMemory(options.images)
        for name, precision in product(EVALUATED, precisions):
            put("evaluation", evaluation(name, precision, data, spare))


if __name__ == "__main__":
    main()
