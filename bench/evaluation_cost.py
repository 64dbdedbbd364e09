"""What maps, boxes and pixels cost next to the plain forward pass, over the same loader.

`fullscale_evaluation.evaluate` (maps, the box at 20 % of the maximum, PxAP) and the network's
forward pass alone run over the same views of the same images, one right after the other; who goes
first alternates. The cost is the median of the paired ratios of wall time, for the boxes are made
by threads beside the network. Asked: at most 1.15. The JPEGs are in memory, so that no disk hides
the cost. The networks are the paper's at full size; their last layer is random, which the time does
not depend on. MaxBoxAccV2, which is off unless asked for, is timed on its own.

Threads that wait must sleep: where they spin, as OpenMP's do by default, the forward pass alone is
slowed down more than the evaluation, on a machine that does other things as well. The intervals,
made once after the last image, are not in the ratio.

    OMP_WAIT_POLICY=passive python bench/evaluation_cost.py [--images 64] [NETWORK ...]
"""

import argparse
import io
import os
import platform
import time
from statistics import median

import cv2
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from camlib import cam, metrics
from camlib.cost import seconds
from camlib.fullscale import launched, shard
from camlib.fullscale_data import EvaluationViews, create_network
from camlib.fullscale_evaluation import Evaluation, _loader, evaluate
from camlib.lab import StickerWorld
from camlib.training import normalise

NETWORKS = ("alexnet-gap", "googlenet-gap", "vgg16-gap")
ASKED = 1.15
DIFFERENT = 256  # pictures; more are these again


class InMemory(Dataset):
    """Pictures of the lab with boxes and masks, as JPEGs of as many pixels as 500 x 375."""

    def __init__(self, count: int) -> None:
        self.count = count
        world = StickerWorld("valid", size=433, length=min(count, DIFFERENT))
        self.classes, self.items = world.classes, []
        for i in range(len(world)):
            image, target = world[i]
            jpeg = io.BytesIO()
            to_pil_image(image).save(jpeg, "JPEG", quality=95)
            self.items.append((jpeg.getvalue(), target))

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int):
        jpeg, target = self.items[i % DIFFERENT]
        return pil_to_tensor(Image.open(io.BytesIO(jpeg))), target


def forward_alone(network, data: InMemory, settings: Evaluation) -> float:
    """The logits of all images, over the loader of `evaluate`; the seconds that it took."""
    fabric = launched(settings.device, settings.precision)
    views = EvaluationViews(data, network.transform, settings.view)
    batches = shard(len(views), settings.batch, fabric)
    network.to(fabric.device).to(memory_format=torch.channels_last)
    loader = _loader(views, batches, fabric, settings.workers)
    start = time.perf_counter()
    for batch in loader:
        images = batch.images.to(fabric.device, non_blocking=True)
        with torch.inference_mode(), fabric.autocast():
            inputs = normalise(images, network).contiguous(memory_format=torch.channels_last)
            network(inputs).float().cpu()
    return time.perf_counter() - start


def cost(network, data: InMemory, settings: Evaluation, repeats: int) -> tuple[float, float, float]:
    """Seconds of the forward pass alone, evaluation over it, and seconds of its intervals."""
    ratios, plain, intervals = [], [], []
    for i in range(repeats + 1):
        alone = None if i % 2 else forward_alone(network, data, settings)
        start = time.perf_counter()
        own = evaluate(network, data, settings).seconds
        intervals.append(time.perf_counter() - start - own)
        alone = alone or forward_alone(network, data, settings)
        if i:  # the first pair warms up
            ratios.append(own / alone)
            plain.append(alone)
    return median(plain), median(ratios), min(intervals)


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
        alone, ratio, intervals = cost(network, data, settings, options.repeats)
        speed = options.images / alone
        milliseconds = max_box_acc_v2_milliseconds(network, data)
        print(f"{name:16}{speed:28.1f}{ratio:28.3f}{milliseconds:28.1f}", flush=True)
        print(f"{'':16}and its intervals {intervals:.2f} s, once")
        if ratio > ASKED:
            print(f"{'':16}more than the {ASKED} asked for")


if __name__ == "__main__":
    main()
