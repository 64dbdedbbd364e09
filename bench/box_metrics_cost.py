"""What MaxBoxAccV2 costs by `metrics.level_ious`, next to a thousand thresholds in OpenCV.

Maps of a lab network for the true class, on test pictures with one object and with several, are
brought to 224 x 224, the size at which wsolevaluation measures. Both ways run on the same maps in
this one run, one right after the other; who goes first alternates. A cost is the median of the
paired ratios. One thread; the times are the process's own, so that what else the machine does
hardly counts. The two must agree, for every map at every threshold, or the run fails.
"""

import platform
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from camlib import cam, evaluation, lab, metrics, networks

NETWORKS = ("alexnet-gap", "vgg16-gap", "googlenet-gap")
SIZE = 224
PICTURES = 10  # of each kind
REPEATS = 7
THRESHOLDS = np.arange(0, 1, 0.001)


def maps_and_boxes(name: str) -> tuple[Tensor, list[Tensor]]:
    """Maps (n, 224, 224) of the true class, and its boxes."""
    network = networks.create(name, pretrained=True, scale="lab")
    maps, boxes = [], []
    for instances in (1, (2, 4)):
        pictures = evaluation.split(lab.StickerWorld("test", instances=instances), PICTURES)
        found = evaluation.map_split(network, pictures, top=0)
        maps.append(cam.upsample(found.maps[:, 0], SIZE))
        scale = SIZE / pictures.images.shape[-1]
        boxes += [(torch.as_tensor(own) * scale).round() for own in pictures.boxes]
    return torch.cat(maps), boxes


def thousand_thresholds(maps: Tensor, boxes: list[Tensor]) -> Tensor:
    """Best IoU at each threshold, (n, 1000): a mask, its contours and their boxes for each."""
    best = np.zeros((len(maps), len(THRESHOLDS)), dtype=np.float32)
    for row, heatmap, own in zip(best, maps.double().numpy(), boxes, strict=True):
        heatmap = heatmap - heatmap.min()
        grey = (heatmap / heatmap.max() * 255).astype(np.uint8)
        found, counts = [], []
        for t in THRESHOLDS:
            _, mask = cv2.threshold(grey, int(t * 255), 255, cv2.THRESH_BINARY)
            contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            found += [cv2.boundingRect(contour) for contour in contours]
            counts.append(len(contours))
        # The IoUs of all thresholds in one go.
        x, y, width, height = np.array(found)[:, None].T
        ends = np.minimum(x + width, SIZE - 1), np.minimum(y + height, SIZE - 1)
        x0, y0, x1, y1 = own.double().numpy().T[:, :, None]
        overlap = (np.minimum(ends[0], x1 - 1) - np.maximum(x, x0) + 1).clip(min=0) * (
            np.minimum(ends[1], y1 - 1) - np.maximum(y, y0) + 1
        ).clip(min=0)
        area = (ends[0] - x + 1) * (ends[1] - y + 1)
        ious = (overlap / (area + (x1 - x0) * (y1 - y0) - overlap)).max(axis=0)
        row[:] = np.maximum.reduceat(ious, np.cumsum([0, *counts[:-1]]))
    return torch.from_numpy(best)


def by_levels(maps: Tensor, boxes: list[Tensor]) -> float:
    return metrics.max_box_acc_v2(metrics.level_ious(maps, boxes, "all"))


def by_thresholds(maps: Tensor, boxes: list[Tensor]) -> float:
    ious = thousand_thresholds(maps, boxes)
    return sum((ious >= o).double().mean(dim=0).max().item() for o in (0.3, 0.5, 0.7)) / 3


def seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.process_time()
    call(*arguments)
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, OpenCV {cv2.__version__}, "
        f"{platform.machine()}, one thread"
    )
    print(f"\nMaxBoxAccV2 of {2 * PICTURES} maps of {SIZE} x {SIZE}")
    columns = (
        "level_ious (ms a map)",
        "over 1,000 thresholds",
        "MaxBoxAccV2",
        "largest difference",
    )
    print(f"{'':16}" + "".join(f"{c:>24}" for c in columns))
    for name in NETWORKS:
        given = maps_and_boxes(name)
        ious, slow = metrics.level_ious(*given, "all"), thousand_thresholds(*given)
        difference = (ious[:, (THRESHOLDS * 255).astype(int)] - slow).abs().max().item()
        accuracy = by_levels(*given)
        if difference > 1e-6 or accuracy != by_thresholds(*given):
            raise SystemExit(f"{name}: the two ways differ, IoUs by up to {difference}")
        times, ratios = [], []
        for i in range(REPEATS):
            if i % 2:
                other, own = seconds(by_thresholds, *given), seconds(by_levels, *given)
            else:
                own, other = seconds(by_levels, *given), seconds(by_thresholds, *given)
            times.append(own)
            ratios.append(own / other)
        milliseconds = 1000 * statistics.median(times) / len(given[0])
        print(
            f"{name:16}{milliseconds:24.1f}{statistics.median(ratios):24.2f}{accuracy:24.3f}"
            f"{difference:24.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
