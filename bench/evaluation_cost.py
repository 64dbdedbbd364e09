"""What maps, boxes and pixels cost next to the plain forward pass, over the same loader.

`fullscale_evaluation.evaluate` (maps, the box at 20 % of the maximum, PxAP) and the network's
forward pass alone run over the same views of the same images, one right after the other; who goes
first alternates. The cost is the median of the paired ratios of wall time, for the boxes are made
by threads beside the network. Asked: at most 1.15. The images are in memory, so that no disk hides
the cost. The networks are the paper's at full size; their last layer is random, which the time does
not depend on. MaxBoxAccV2, which is off unless asked for, is timed on its own.

Threads that wait must sleep: where they spin, as OpenMP's do by default, the forward pass alone is
slowed down more than the evaluation, on a machine that does other things as well.

    OMP_WAIT_POLICY=passive python bench/evaluation_cost.py [--images 64] [NETWORK ...]
"""

import argparse
import os
import platform
import time

import cv2
import torch
from torch.utils.data import Dataset

from camlib import cam, metrics
from camlib.cost import paired_ratio, seconds
from camlib.fullscale import launched, shard
from camlib.fullscale_data import EvaluationViews, create_network
from camlib.fullscale_evaluation import Evaluation, _loader, evaluate
from camlib.lab import StickerWorld
from camlib.training import normalise

NETWORKS = ("alexnet-gap", "googlenet-gap", "vgg16-gap")
ASKED = 1.15


class InMemory(Dataset):
    """Pictures of the lab, 256 x 256, with boxes and masks."""

    def __init__(self, count: int) -> None:
        world = StickerWorld("valid", size=256, length=count)
        self.classes = world.classes
        self.items = [world[i] for i in range(count)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int):
        return self.items[i]


def forward_alone(network, data: InMemory, settings: Evaluation) -> None:
    """The logits of all images, over the loader of `evaluate`."""
    fabric = launched(settings.device, settings.precision)
    views = EvaluationViews(data, network.transform, settings.view)
    batches = shard(len(views), settings.batch, fabric)
    network.to(fabric.device).to(memory_format=torch.channels_last)
    for seen in _loader(views, batches, fabric, settings.workers):
        images = torch.stack([view.image for view in seen]).to(fabric.device)
        with torch.inference_mode(), fabric.autocast():
            inputs = normalise(images, network).contiguous(memory_format=torch.channels_last)
            network(inputs).float().cpu()


def max_box_acc_v2_milliseconds(network, data: InMemory, count: int = 8) -> float:
    """Of `metrics.level_ious` for a map of 224 x 224, one thread."""
    views = EvaluationViews(data, network.transform)
    device = next(network.parameters()).device
    seen = [views[i] for i in range(count)]
    inputs = normalise(torch.stack([view.image for view in seen]).to(device), network)
    labels = torch.tensor([[view.label] for view in seen], device=device)
    maps = cam.class_activation_maps(network, inputs, labels).maps[:, 0].cpu()
    larger, boxes = cam.upsample(maps, 224), [view.boxes.round() for view in seen]
    return 1000 * min(seconds(lambda: metrics.level_ious(larger, boxes, "all")) for _ in "ab") / 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0, help="processes that make the views")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="32-true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    settings = Evaluation(
        batch=options.batch,
        workers=options.workers,
        device=options.device,
        precision=options.precision,
        progress=False,
    )
    where = launched(settings.device, settings.precision).device
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else platform.machine()
    print(
        f"torch {torch.__version__}, {name}, {os.cpu_count()} cores, {torch.get_num_threads()} "
        f"threads, {settings.box_workers} of them for boxes; {options.images} images in batches "
        f"of {options.batch}"
    )
    columns = ("forward (images/s)", "evaluation / forward", "MaxBoxAccV2 (ms an image)")
    print(f"{'':16}" + "".join(f"{c:>28}" for c in columns))
    data = InMemory(options.images)
    for name in options.networks:
        torch.manual_seed(0)
        network = create_network(name, len(data.classes))

        def plain(network=network) -> None:
            forward_alone(network, data, settings)

        def whole(network=network) -> None:
            evaluate(network, data, settings)

        ratio = paired_ratio(whole, plain, options.repeats)
        start = time.perf_counter()
        plain()
        speed = options.images / (time.perf_counter() - start)
        milliseconds = max_box_acc_v2_milliseconds(network, data)
        print(f"{name:16}{speed:28.1f}{ratio:28.3f}{milliseconds:28.1f}", flush=True)
        if ratio > ASKED:
            print(f"{'':16}more than the {ASKED} asked for")


if __name__ == "__main__":
    main()
