"""What the tests of full scale share: a small network, small data on disk, two processes.

Run as a script, it is one of the processes that train the small network.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from camlib import cli, networks
from camlib.datasets import Folder
from camlib.fullscale import Recipe, Run, train
from camlib.fullscale_evaluation import Evaluation, evaluate, write_maps
from camlib.lab import StickerWorld
from camlib.networks import Transform

CLASSES = 4
RECIPE = Recipe(epochs=2, rate=0.05, batch=8, shift=2, seed=3)


class Tiny(nn.Module):
    """Two convolutions, pool, linear, in timm's protocol; batch norm and dropout where asked."""

    def __init__(self, norm=False, dropout=0.0, seed=1):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.trunk = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=2, padding=1),
                nn.BatchNorm2d(8) if norm else nn.Identity(),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, stride=2, padding=1),
                nn.ReLU(),
            )
            self.drop = nn.Dropout(dropout) if dropout else nn.Identity()
            self.head = nn.Linear(8, CLASSES)
        self.name, self.scale, self.classes = "tiny", "paper", None
        self.transform = Transform(32, 1.0)

    def forward_features(self, images):
        return self.trunk(images)

    def forward_head(self, features):
        return self.head(self.drop(features.mean(dim=(2, 3))))

    def forward(self, images):
        return self.forward_head(self.forward_features(images))

    def get_classifier(self):
        return self.head


def write_folder(root: Path, each: int = 6) -> Path:
    """Lab pictures of some classes, a folder for each, and boxes.csv beside it."""
    world = StickerWorld("train", size=40)
    counts = dict.fromkeys(range(CLASSES), 0)
    lines = ["image,x0,y0,x1,y1"]
    for i in range(1000):
        image, target = world[i]
        label = target["label"]
        if counts.get(label, each) == each:
            continue
        name = f"{world.classes[label]}/{counts[label]}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / name)
        box = ",".join(str(int(v)) for v in target["boxes"][0].tolist())
        lines.append(f"{name},{box}")
        counts[label] += 1
        if sum(counts.values()) == each * CLASSES:
            break
    root.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return root


def processes(number: int, *command: str) -> list[str]:
    """Run a command on so many processes, with what torchrun sets; what each of them printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(number):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(number),
            "LOCAL_WORLD_SIZE": str(number),
            "GROUP_RANK": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        started.append(
            subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = []
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        said.append(out)
    return said


def run(folder, **options):
    defaults = {"workers": 0, "progress": False, "device": "cpu", "log_every": 1}
    return Run(folder=folder, **{**defaults, **options})


def trained(folder, data, recipe=RECIPE, network=None, valid=None, **options):
    network = Tiny() if network is None else network
    return network, train(network, data, recipe, run(folder, **options), valid=valid)


def same(network, other):
    mine, theirs = network.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def close(network, other):
    mine, theirs = network.state_dict(), other.state_dict()
    return all(torch.allclose(mine[n], theirs[n], atol=1e-6, rtol=1e-5) for n in mine)


COUNT = 13  # images to evaluate: of batches of 2 the last one is short
SETTINGS = Evaluation(batch=2, workers=0, progress=False, device="cpu", max_box_acc_v2=True)
EVALUATE = f"evaluate nin lab --scale lab --limit {COUNT} --batch 2 --workers 0 --device cpu"


def main(root: Path, folder: Path) -> None:
    """What one process can do, or several together; results go into a folder."""
    data = Folder(root)
    network = Tiny(dropout=0.3)
    parts = 2 // int(os.environ["WORLD_SIZE"])  # the same parts, so that dropout drops the same
    trained(folder / "run", data, network=network, valid=data, accumulate=parts)
    network = Tiny(norm=True)
    trained(folder / "norm", data, network=network, valid=data, accumulate=parts)
    torch.save(network.state_dict(), folder / f"norm {os.environ['RANK']}.pt")
    try:
        trained(folder / "nan", data, replace(RECIPE, rate=1e30, warmup=0.0), accumulate=parts)
    except FloatingPointError as error:
        (folder / f"nan {os.environ['RANK']}").write_text(str(error))
    network = networks.create("googlenet-gap", pretrained=True, scale="lab")
    for count in (COUNT, 1):  # one image is less than a batch for each process
        world = StickerWorld("valid", length=count, instances=(1, 3))
        measures = asdict(evaluate(network, world, SETTINGS))
        if os.environ["RANK"] == "0":
            (folder / f"{count}.json").write_text(json.dumps(measures))
        write_maps(network, world, folder / f"maps {count}", SETTINGS, of="top")
    cli.main([*EVALUATE.split(), "--output", str(folder / "command.json")])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:]))
