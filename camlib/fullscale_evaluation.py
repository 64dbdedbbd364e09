"""Errors and maps of a whole data set, on one process or several.

    network = fullscale.open_network("runs/googlenet-gap")
    measures = evaluate(network, data, Evaluation())

The data set is cut into batches, and every process takes whole ones of them. So the numbers are the
same on any number of processes (on one machine, with as many threads), to the last image. Boxes and
pixels are counted by threads beside the network, on the batch before.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from camlib import boxes, cam, metrics, networks
from camlib.fullscale import DEVICES, PRECISIONS, launched, shard
from camlib.fullscale_data import VIEWS, EvaluationViews, View, expect_classes, image_name
from camlib.training import normalise

TOP = 5
_GROUP = 8  # images that a thread takes at once
_BACKLOG = 4  # batches that may wait for their boxes


@dataclass(frozen=True)
class Evaluation:
    """How a data set is evaluated.

    Attributes:
        threshold: of the box, a share of the map's maximum; the paper's is 0.2.
        maps: whether to localize; without, the classification alone, which every network has.
        max_box_acc_v2: whether to measure it as well: it takes longer than all the rest.
        view: "whole": the whole image, resized to a square, so that no object is cut off;
            "centre": the network's resize and cut, as for classification. Boxes are compared in
            the whole image either way; PxAP is of the pixels of the view.
        size: of the view in pixels; None: the network's own.
        batch: images at once, on each process.
        precision: "32-true", or "bf16-mixed": the network in bfloat16, its maps in float32.
        device: "cuda", "cpu", or "auto": the GPU where there is one.
        workers: processes that read images, for each process that evaluates.
        box_workers: threads that make boxes and count pixels, for each process.
        progress: whether to show a bar.
    """

    threshold: float = 0.2
    maps: bool = True
    max_box_acc_v2: bool = False
    view: str = "whole"
    size: int | None = None
    batch: int = 64
    precision: str = "32-true"
    device: str = "auto"
    workers: int = 4
    box_workers: int = min(4, os.cpu_count() or 1)
    progress: bool = True

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("threshold", 0 <= self.threshold < 1, "a share of the maximum, 0 to below 1"),
            ("view", self.view in VIEWS, " or ".join(VIEWS)),
            ("size", self.size is None or self.size >= 1, "a number of pixels, or None"),
            ("batch", self.batch >= 1, "a whole number from 1 on"),
            ("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS)),
            ("device", self.device in DEVICES, " or ".join(DEVICES)),
            ("workers", self.workers >= 0, "a whole number from 0 on"),
            ("box_workers", self.box_workers >= 1, "a whole number from 1 on"),
            (
                "max_box_acc_v2",
                not self.max_box_acc_v2 or (self.maps and self.view == "whole"),
                'False without maps and in the view "centre": it is of whole images',
            ),
        ):
            if not fits:
                value = getattr(self, name)
                raise ValueError(f"Evaluation: {name} is {value!r}, expected {expected}")


@dataclass(frozen=True)
class Measures:
    """What an evaluation found: shares, 0 to 1; None where nothing was there to measure it by.

    Attributes:
        images: how many were seen; `with_boxes` and `with_masks` of them have a truth of that kind,
            and localization and PxAP are over those.
        top1, top5: classification error (Table 1); top5 only with more than five classes.
        localization_top1, localization_top5: localization error (Table 2).
        gt_known: localization error with the map of the true class, whatever the network answers.
        px_ap: see `metrics.px_ap`.
        max_box_acc_v2: see `metrics.max_box_acc_v2`; boxes in whole pixels of the view.
        seconds: until all processes were done, their start not included.
    """

    images: int
    with_boxes: int
    with_masks: int
    top1: float
    top5: float | None
    localization_top1: float | None
    localization_top5: float | None
    gt_known: float | None
    px_ap: float | None
    max_box_acc_v2: float | None
    seconds: float


class _Counted(NamedTuple):
    """Of some images: a row for each, the counts of PxAP, IoUs at each level.

    A row is: index, missed by the top class, by the top five, has a box, and with it missed by the
    box of the top class, of the top five, of the true class; has a mask.
    """

    rows: Tensor  # (n, 8) float64
    pixels: Tensor  # (2, 1001) int64
    ious: Tensor  # (n with a box, 255)


def evaluate(network: Any, data: Any, settings: Evaluation) -> Measures:
    """Classification and localization error, GT-known and PxAP of a network on a data set.

    The box of a wrong class is never right. So of each image the map of its true class is all that
    top-1, top-5 and GT-known need: it counts where that class is among the answers.

    Args:
        network: in evaluation mode, with `transform`; with maps, one that CAM accepts.
        data: gives (image, target), has `classes`; see `camlib.datasets`.
        settings: see `Evaluation`.

    Returns:
        The measures, the same on every process.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        ValueError: if network and data do not fit together, or CAM refuses the network.
        OSError: if an image cannot be read.
    """
    fabric = launched(settings.device, settings.precision)
    views = EvaluationViews(
        data, network.transform, settings.view, _size(network, settings.size), settings.maps
    )
    loader = _loader(views, shard(len(views), settings.batch, fabric), fabric, settings.workers)
    network.to(fabric.device).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    waiting: deque[Future[_Counted]] = deque()
    done: list[_Counted] = []
    most = _BACKLOG * math.ceil(settings.batch / _GROUP)
    hidden = not (settings.progress and fabric.is_global_zero)
    with ThreadPoolExecutor(settings.box_workers) as pool:
        try:
            for seen in tqdm(loader, unit="batch", disable=hidden):
                logits, maps = _answers(network, seen, fabric, settings.maps)
                if not done and not waiting:
                    expect_classes(network, data, logits.shape[1])
                for i in range(0, len(seen), _GROUP):
                    of = slice(i, i + _GROUP)
                    part = None if maps is None else maps[of]
                    waiting.append(pool.submit(_count, seen[of], logits[of], part, settings))
                while waiting and (len(waiting) > most or waiting[0].done()):
                    done.append(waiting.popleft().result())
            done.extend(future.result() for future in waiting)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    counted = _gathered(done, fabric)
    return _together(counted, len(data), len(data.classes), time.perf_counter() - start)


def _size(network: Any, size: int | None) -> int:
    """Of the view: as asked, as a checkpoint was trained, or as the network's transform says."""
    return int(size or getattr(network, "input_size", None) or network.transform.size)


def _loader(
    views: EvaluationViews, batches: list[list[int]], fabric: Any, workers: int
) -> "DataLoader[list[View]]":
    return DataLoader(
        views,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=list,
        pin_memory=fabric.device.type == "cuda",
    )


def _answers(
    network: Any, seen: list[View], fabric: Any, with_maps: bool, of: str = "label"
) -> tuple[Tensor, Tensor | None]:
    """Logits (N, C) and the map of one class (N, H, W) of each image, on the CPU, float32."""
    images = torch.stack([view.image for view in seen]).to(fabric.device, non_blocking=True)
    labels = torch.tensor([view.label for view in seen], device=fabric.device)
    with torch.inference_mode(), fabric.autocast():
        inputs = normalise(images, network).contiguous(memory_format=torch.channels_last)
        name = cam.expect_ready("evaluate", network, inputs)
        if not with_maps:
            return network(inputs).float().cpu(), None
        # Of global max pooling the paper takes the same maps, though they are not its scores.
        surgery = networks.SURGERY.get(name)
        check = surgery is None or surgery.pool == "average"
        classes = labels[:, None] if of == "label" else None
        found = cam.class_activation_maps(network, inputs, classes, check=check)
    return found.logits.float().cpu(), found.maps[:, 0].float().cpu()


def _count(
    seen: Sequence[View], logits: Tensor, maps: Tensor | None, settings: Evaluation
) -> _Counted:
    """What counts of some images; runs in a thread."""
    n, top = len(seen), min(TOP, logits.shape[1])
    labels = torch.tensor([view.label for view in seen])
    rows = torch.zeros(n, 8, dtype=torch.float64)
    rows[:, 0] = torch.tensor([view.number for view in seen])
    rows[:, 1] = metrics.top_k_error(logits, labels)
    rows[:, 2] = metrics.top_k_error(logits, labels, top)
    pixels, ious = torch.zeros(2, 1001, dtype=torch.int64), []
    if maps is None:
        return _Counted(rows, pixels, torch.zeros(0, metrics.LEVELS))
    size = seen[0].image.shape[-1]
    larger = cam.upsample(maps, size)
    boxed = [i for i, view in enumerate(seen) if len(view.boxes)]
    if boxed:
        classes = torch.cat([logits.topk(top, dim=1).indices, labels[:, None]], dim=1)[boxed]
        own = boxes.boxes_from_maps(larger[boxed], settings.threshold)
        # With the true class's box for every guess: those of other classes are misses anyway.
        guesses = own[:, None].expand(-1, classes.shape[1], -1)
        targets = [
            {
                "label": seen[i].label,
                "labels": torch.full((len(seen[i].boxes),), seen[i].label),
                "boxes": seen[i].boxes,
            }
            for i in boxed
        ]
        rows[boxed, 3] = 1
        for column, which in ((4, slice(0, 1)), (5, slice(0, top)), (6, slice(top, None))):
            rows[boxed, column] = metrics.localization_error(
                classes[:, which], guesses[:, which], targets
            )
        if settings.max_box_acc_v2:
            truth = [_whole_pixels(seen[i]) for i in boxed]
            ious.append(metrics.level_ious(larger[boxed], truth, "all"))
    masked = [i for i, view in enumerate(seen) if view.mask is not None]
    if masked:
        rows[masked, 7] = 1
        masks = torch.stack([_filled(seen[i].mask, size) for i in masked])
        ignored = torch.stack([_filled(seen[i].ignored, size) for i in masked])
        pixels = metrics.pixel_counts(larger[masked], masks, ignored)
    return _Counted(rows, pixels, torch.cat(ious) if ious else torch.zeros(0, metrics.LEVELS))


def _filled(mask: Tensor | None, size: int) -> Tensor:
    return torch.zeros(size, size, dtype=torch.bool) if mask is None else mask


def _whole_pixels(view: View) -> Tensor:
    """Boxes as wsolevaluation resizes them: first and last pixel, each cut to a whole number."""
    last = view.boxes[:, 2:] - torch.tensor(view.scale, dtype=torch.float64)
    # A corner that is a whole number but for rounding is that number.
    first, last = (view.boxes[:, :2] + 1e-6).floor(), (last + 1e-6).floor()
    return torch.cat([first, torch.maximum(first, last) + 1], dim=1)


def _gathered(done: list[_Counted], fabric: Any) -> _Counted:
    """What all processes counted, in the order of the data set."""
    mine = [
        torch.cat([part.rows for part in done]) if done else torch.zeros(0, 8),
        torch.stack([part.pixels for part in done]).sum(dim=0) if done else torch.zeros(2, 1001),
        torch.cat([part.ious for part in done]) if done else torch.zeros(0, metrics.LEVELS),
    ]
    every: list[Any] = [None] * fabric.world_size
    if fabric.world_size > 1:
        # As objects: processes have other numbers of images, and padding would count some twice.
        torch.distributed.all_gather_object(every, [tensor.numpy() for tensor in mine])
    else:
        every = [[tensor.numpy() for tensor in mine]]
    rows = torch.from_numpy(np.concatenate([part[0] for part in every]))
    pixels = torch.from_numpy(np.sum([part[1] for part in every], axis=0)).long()
    ious = torch.from_numpy(np.concatenate([part[2] for part in every]))
    return _Counted(rows[rows[:, 0].argsort()], pixels, ious)


def _together(counted: _Counted, images: int, classes: int, seconds: float) -> Measures:
    rows, pixels, ious = counted
    if rows[:, 0].tolist() != list(range(images)):
        raise RuntimeError(
            f"evaluate: {len(rows)} images were counted, expected {images}, each once"
        )

    def mean(column: int, of: Tensor = rows) -> float | None:
        return float(of[:, column].mean()) if len(of) else None

    boxed = rows[rows[:, 3] > 0]
    return Measures(
        images=images,
        with_boxes=len(boxed),
        with_masks=int(rows[:, 7].sum()),
        top1=float(rows[:, 1].mean()),
        top5=mean(2) if classes > TOP else None,
        localization_top1=mean(4, boxed),
        localization_top5=mean(5, boxed) if classes > TOP else None,
        gt_known=mean(6, boxed),
        px_ap=metrics.px_ap_of_counts(pixels) if pixels[1].any() else None,
        max_box_acc_v2=metrics.max_box_acc_v2(ious) if len(ious) else None,
        seconds=seconds,
    )


def report(measures: Measures, threshold: float) -> list[str]:
    """The measures in words, a line each."""
    m = measures
    lines = [f"{m.images:,} images, {m.with_boxes:,} with boxes, {m.with_masks:,} with masks"]
    for name, value, what in (
        ("classification error, top-1", m.top1, ""),
        ("classification error, top-5", m.top5, ""),
        ("localization error, top-1", m.localization_top1, f"box at {threshold:.0%}"),
        ("localization error, top-5", m.localization_top5, f"box at {threshold:.0%}"),
        ("localization error, GT-known", m.gt_known, f"box at {threshold:.0%}"),
        ("PxAP", m.px_ap, ""),
        ("MaxBoxAccV2", m.max_box_acc_v2, "level chosen on these images"),
    ):
        if value is not None:
            lines.append(f"{name:30}{value:8.2%}" + (f"  ({what})" if what else ""))
    lines.append(f"{m.images / m.seconds:.1f} images/s")
    return lines


# ---- maps as files ----


def write_maps(
    network: Any,
    data: Any,
    folder: str | Path,
    settings: Evaluation,
    *,
    of: str = "label",
    keep_extension: bool = False,
    description: str | None = None,
) -> int:
    """Write the map of one class of each image as wsolevaluation's evaluation reads them.

    FOLDER/scoremaps/NAME.npy, with NAME the image's without its ending: float32 (s, s), s the
    size of the view, of the whole image, scaled so that its minimum is 0 and its maximum 1 (a map
    that is the same everywhere is 0). A file that is there, and whole, is not made again; files
    are written beside their place and moved there.

    Args:
        network: in evaluation mode, with `transform`; one that CAM accepts.
        data: gives (image, target); see `camlib.datasets`.
        folder: new or empty, or one of the same maps.
        settings: view, size, batch, precision, device and workers of it count.
        of: "label", the image's class, or "top", the class with the highest score.
        keep_extension: name files NAME.JPEG.npy: their code opens these, their text says the other.
        description: of network and data, in words; maps of another one are not mixed in.

    Returns:
        How many files this process wrote.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        ValueError: if CAM refuses the network, the folder holds other maps, or two images have one
            name.
        OSError: if an image cannot be read or a file not be written.
    """
    if of not in ("label", "top"):
        raise ValueError(f'write_maps: of is {of!r}, expected "label" or "top"')
    fabric = launched(settings.device, settings.precision)
    size = _size(network, settings.size)
    views = EvaluationViews(data, network.transform, settings.view, size, truth=False)
    place = Path(folder) / "scoremaps"
    listed = {
        "maps": description or getattr(network, "name", type(network).__name__),
        "of": of,
        "view": settings.view,
        "size": size,
        "precision": settings.precision,
    }
    _expect_same_maps(Path(folder), listed)
    fabric.barrier()
    if fabric.is_global_zero:
        place.mkdir(parents=True, exist_ok=True)
        _write_atomic(Path(folder) / "maps.json", json.dumps(listed, indent=1).encode() + b"\n")
    fabric.barrier()
    paths = [_map_path(place, image_name(data, i), keep_extension) for i in range(len(data))]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(
            f"write_maps: two images would be written to {twice}: keep the endings of their names"
        )
    wanted = [i for i, path in enumerate(paths) if not _is_whole(path, size)]
    mine = shard(len(wanted), settings.batch, fabric)
    batches = [[wanted[i] for i in batch] for batch in mine]
    network.to(fabric.device).to(memory_format=torch.channels_last)
    hidden = not (settings.progress and fabric.is_global_zero)
    with ThreadPoolExecutor(settings.box_workers) as pool:
        waiting: deque[Future[None]] = deque()
        loader = _loader(views, batches, fabric, settings.workers)
        for seen in tqdm(loader, unit="batch", disable=hidden):
            _, maps = _answers(network, seen, fabric, True, of)
            assert maps is not None
            for view, heatmap in zip(seen, maps, strict=True):
                waiting.append(pool.submit(_write_map, paths[view.number], heatmap, size))
            while len(waiting) > _BACKLOG * settings.batch:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    fabric.barrier()
    return sum(map(len, batches))


def _expect_same_maps(folder: Path, listed: dict[str, Any]) -> None:
    path = folder / "maps.json"
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not path.exists():
        raise ValueError(
            f"write_maps: the folder {folder} is not empty and has no maps.json: give another one"
        )
    found = json.loads(path.read_text())
    if found != listed:
        other = ", ".join(
            f"{k} is {listed[k]!r} and was {found.get(k)!r}"
            for k in listed
            if found.get(k) != listed[k]
        )
        raise ValueError(f"write_maps: the folder {folder} holds other maps: {other}")


def _map_path(place: Path, name: str | None, keep_extension: bool) -> Path:
    if not name:
        raise ValueError(
            "write_maps: the data set does not say what its images are called: it needs `names`"
        )
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"write_maps: the image {name!r} would be written outside of {place}")
    stem = name if keep_extension else name.removesuffix(relative.suffix)
    return place / f"{stem}.npy"


def _is_whole(path: Path, size: int) -> bool:
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):  # none, or cut short
        return False
    return bool(found.shape == (size, size) and found.dtype == np.float32)


def _write_map(path: Path, heatmap: Tensor, size: int) -> None:
    larger = cam.upsample(heatmap, size)
    larger = larger - larger.min()
    largest = larger.max()
    scaled = (larger / largest if largest > 0 else larger).numpy().astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.save(file, scaled)
    temporary.replace(path)


def _write_atomic(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    temporary.replace(path)
