"""Errors and maps of a whole data set, on one process or several.

    network = open_network("runs/googlenet-gap")
    measures = evaluate(network, data, Evaluation())

The data set is cut into batches, and every process takes whole ones of them. So the numbers are the
same on any number of processes (on one machine, with as many threads), to the last image. Boxes and
pixels are counted by threads beside the network, on the batch before.
"""

import hashlib
import json
import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.ops import box_iou
from tqdm.auto import tqdm

from camlib import boxes, cam, fullscale_intervals, metrics, networks
from camlib.fullscale import DEVICES, PRECISIONS, launched, shard, with_fine_head
from camlib.fullscale_card import write_text
from camlib.fullscale_data import (
    VIEWS,
    EvaluationViews,
    View,
    ViewBatch,
    expect_classes,
    image_name,
    pack,
    unpack,
)
from camlib.training import normalise

TOP = 5
OVERLAPS = (0.3, 0.5, 0.7)  # of MaxBoxAccV2
_GROUP = 16  # images that a thread takes at once
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
        precision: "32-true", or "bf16-mixed": the network in bfloat16, but what follows its last
            map, scores and maps, in float32.
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
        intervals: by the name of each measure above that there is, the ends of its 95 % interval
            over images. Of the errors, shares of images, Wilson's score interval; of PxAP and
            MaxBoxAccV2 the percentile bootstrap, its level chosen anew on each draw. See
            `fullscale_intervals`.
        seconds: until all images were counted; start and intervals are not included.
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
    intervals: dict[str, tuple[float, float]]
    seconds: float


class _Counted(NamedTuple):
    """Of some images: a row for each, and of those that have them counts of PxAP, IoUs at levels.

    A row is: index, missed by the top class, by the top five, has a box, and with it missed by the
    box of the top class, of the top five, of the true class; has a mask.
    """

    rows: Tensor  # (n, 8) float64
    pixels: Tensor  # (n with a mask, 2, 1001), as small a whole number as holds a view's pixels
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
    with _beside(fabric, settings) as pool:
        try:
            for batch in tqdm(loader, unit="batch", disable=hidden):
                seen = unpack(batch)
                if not done and not waiting:
                    _expect_classes(network, data, seen[0], fabric)
                logits, maps = _answers(network, batch, fabric, settings.maps)
                cut = None
                if maps is not None and maps.is_cuda:
                    cut, maps = _cut(seen, maps, settings), None
                for i in range(0, len(seen), _GROUP):
                    of = slice(i, i + _GROUP)
                    part = None if cut is None else cut.of(of)
                    own = None if maps is None else maps[of]
                    waiting.append(pool.submit(_count, seen[of], logits[of], own, part, settings))
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
) -> "DataLoader[ViewBatch]":
    return DataLoader(
        views,  # type: ignore[arg-type]
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=pack,
        pin_memory=fabric.device.type == "cuda",
    )


def _answers(
    network: Any, batch: ViewBatch, fabric: Any, with_maps: bool, of: str = "label"
) -> tuple[Tensor, Tensor | None]:
    """Of each image logits (N, C), on the CPU, and the map of one class (N, H, W); float32."""
    images = batch.images.to(fabric.device, non_blocking=True)
    labels = batch.labels.to(fabric.device, non_blocking=True)
    with torch.inference_mode(), fabric.autocast():
        inputs = normalise(images, network).contiguous(memory_format=torch.channels_last)
        name = cam.expect_ready("evaluate", network, inputs)
        network = with_fine_head(network)
        if not with_maps:
            return network(inputs).float().cpu(), None
        # Of global max pooling the paper takes the same maps, though they are not its scores.
        surgery = networks.SURGERY.get(name)
        check = surgery is None or surgery.pool == "average"
        classes = labels[:, None] if of == "label" else None
        found = cam.class_activation_maps(network, inputs, classes, check=check)
    return found.logits.float().cpu(), found.maps[:, 0].float()


def _expect_classes(network: Any, data: Any, view: View, fabric: Any) -> None:
    """`expect_classes` by the scores of one image, before a map of a class that is none."""
    logits, _ = _answers(network, pack([view]), fabric, False)
    expect_classes(network, data, logits.shape[1])


@contextmanager
def _beside(fabric: Any, settings: Evaluation) -> Iterator[ThreadPoolExecutor]:
    """Threads beside the network, which share no operation with further threads.

    What they do is small, and all of torch's threads in each of them would wait for each other.
    With a GPU that holds for this thread, too, as the cores are busy reading images.
    """
    threads = torch.get_num_threads()
    if fabric.device.type == "cuda":
        torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(settings.box_workers, "count", torch.set_num_threads, (1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


class _Cut(NamedTuple):
    """What takes every pixel of maps at the size of the view, on the CPU."""

    above: Tensor  # bool (n, s, s), what the box goes around
    pixels: Tensor  # (n, 2, 1001), see _Counted; of an image without a mask it says nothing
    larger: Tensor | None  # the maps themselves (n, s, s), for MaxBoxAccV2

    def of(self, images: slice) -> "_Cut":
        larger = None if self.larger is None else self.larger[images]
        return _Cut(self.above[images], self.pixels[images], larger)


def _cut(seen: Sequence[View], maps: Tensor, settings: Evaluation) -> _Cut:
    """Made where the maps are: a GPU takes every pixel at once, and much less leaves it."""
    size = seen[0].image.shape[-1]
    larger = cam.upsample(maps, size)
    kind = torch.uint16 if size**2 < 2**16 else torch.int32  # 200 MB for 50,000 images, or twice
    pixels = torch.zeros(len(seen), 2, 1001, dtype=kind)
    if any(view.mask is not None for view in seen):
        masks = torch.stack([_filled(view.mask, size) for view in seen])
        ignored = torch.stack([_filled(view.ignored, size) for view in seen])
        pixels = metrics.pixel_counts(larger, masks, ignored).cpu().to(kind)
    above = boxes.above("evaluate", larger, settings.threshold).cpu()
    return _Cut(above, pixels, larger.cpu() if settings.max_box_acc_v2 else None)


def _count(
    seen: Sequence[View],
    logits: Tensor,
    maps: Tensor | None,
    cut: _Cut | None,
    settings: Evaluation,
) -> _Counted:
    """What counts of some images; runs in a thread. Without maps and cut: classes alone."""
    n, top = len(seen), min(TOP, logits.shape[1])
    labels = torch.tensor([view.label for view in seen])
    rows = torch.zeros(n, 8, dtype=torch.float64)
    rows[:, 0] = torch.tensor([view.number for view in seen])
    rows[:, 1] = metrics.top_k_error(logits, labels)
    rows[:, 2] = metrics.top_k_error(logits, labels, top)
    ious = torch.zeros(0, metrics.LEVELS)
    if maps is not None:
        cut = _cut(seen, maps, settings)
    if cut is None:
        return _Counted(rows, torch.zeros(0, 2, 1001, dtype=torch.uint16), ious)
    boxed = [i for i, view in enumerate(seen) if len(view.boxes)]
    if boxed:
        own = boxes.around_largest(cut.above[boxed])
        # As `metrics.localization_error`, but all at once: Python's threads take turns.
        owners = torch.tensor([k for k, i in enumerate(boxed) for _ in seen[i].boxes])
        overlaps = box_iou(own.double(), torch.cat([seen[i].boxes for i in boxed]))
        overlaps[owners != torch.arange(len(boxed))[:, None]] = 0
        rows[boxed, 3] = 1
        rows[boxed, 6] = (overlaps.amax(dim=1) < 0.5).double()
        # The box of another class is a miss: right is who has the class, and its box.
        rows[boxed, 4:6] = rows[boxed, 1:3].maximum(rows[boxed, 6:7])
        if cut.larger is not None:
            truth = [_whole_pixels(seen[i]) for i in boxed]
            ious = metrics.level_ious(cut.larger[boxed], truth, "all")
    rows[:, 7] = torch.tensor([view.mask is not None for view in seen])
    return _Counted(rows, cut.pixels[rows[:, 7] > 0], ious)


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
    mine = [np.concatenate([part.numpy() for part in parts]) for parts in zip(*done, strict=True)]
    every: list[Any] = [mine]
    if fabric.world_size > 1:
        every = [None] * fabric.world_size
        # As objects: processes have other numbers of images, and padding would count some twice.
        torch.distributed.all_gather_object(every, mine)
    rows, pixels, ious = (
        torch.from_numpy(np.concatenate(parts)) for parts in zip(*filter(None, every), strict=True)
    )
    numbers, has_box, has_mask = rows[:, 0], rows[:, 3] > 0, rows[:, 7] > 0
    if len(ious):
        ious = ious[numbers[has_box].argsort()]
    return _Counted(rows[numbers.argsort()], pixels[numbers[has_mask].argsort()], ious)


def _together(counted: _Counted, images: int, classes: int, seconds: float) -> Measures:
    rows, pixels, ious = counted
    if rows[:, 0].tolist() != list(range(images)):
        raise RuntimeError(
            f"evaluate: {len(rows)} images were counted, expected {images}, each once"
        )
    boxed = rows[rows[:, 3] > 0]
    found: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for name, column, of in (
        ("top1", 1, rows),
        ("top5", 2, rows),
        ("localization_top1", 4, boxed),
        ("localization_top5", 5, boxed),
        ("gt_known", 6, boxed),
    ):
        if len(of) and (classes > TOP or not name.endswith("top5")):
            found[name] = float(of[:, column].mean())
            intervals[name] = fullscale_intervals.wilson(found[name], len(of))
    counts = torch.from_numpy(pixels.numpy().sum(axis=0, dtype=np.int64))
    if counts[1].any():
        found["px_ap"] = metrics.px_ap_of_counts(counts)
        intervals["px_ap"] = fullscale_intervals.bootstrap(
            pixels, fullscale_intervals.px_ap_of_sums
        )
    if len(ious):
        found["max_box_acc_v2"] = metrics.max_box_acc_v2(ious)
        hits = torch.stack([ious >= overlap for overlap in OVERLAPS], dim=1)
        intervals["max_box_acc_v2"] = fullscale_intervals.bootstrap(
            hits, lambda sums: (sums / len(hits)).amax(dim=2).mean(dim=1)
        )
    return Measures(
        images=images,
        with_boxes=len(boxed),
        with_masks=len(pixels),
        top1=found["top1"],
        top5=found.get("top5"),
        localization_top1=found.get("localization_top1"),
        localization_top5=found.get("localization_top5"),
        gt_known=found.get("gt_known"),
        px_ap=found.get("px_ap"),
        max_box_acc_v2=found.get("max_box_acc_v2"),
        intervals=intervals,
        seconds=seconds,
    )


def report(measures: Measures, threshold: float) -> list[str]:
    """The measures in words with their 95 % intervals, a line each, of at most 80 characters."""
    m, box = measures, f"box at {threshold:.0%}"
    lines = [
        f"{m.images:,} images, {m.with_boxes:,} with boxes, {m.with_masks:,} with masks",
        f"{'':40}95 % interval",
    ]
    for name, field, what in (
        ("classification error, top-1", "top1", ""),
        ("classification error, top-5", "top5", ""),
        ("localization error, top-1", "localization_top1", box),
        ("localization error, top-5", "localization_top5", box),
        ("localization error, GT-known", "gt_known", box),
        ("PxAP", "px_ap", ""),
        ("MaxBoxAccV2", "max_box_acc_v2", "level chosen here"),
    ):
        value = getattr(m, field)
        if value is not None:
            low, high = m.intervals[field]
            interval = f"{low:.2%} to {high:.2%}"
            lines.append(f"{name:30}{value:8.2%}  {interval:18}  {what and f'({what})'}".rstrip())
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
        data: gives (image, target), has `classes`; see `camlib.datasets`.
        folder: new or empty, or one of the same maps.
        settings: view, size, batch, precision, device and workers of it count.
        of: "label", the image's class, or "top", the class with the highest score.
        keep_extension: name files NAME.JPEG.npy: their code opens these, their text says the other.
        description: of network and data, in words; maps of another one, or of a network with other
            weights, are not mixed in.

    Returns:
        How many files this process wrote.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        ValueError: if CAM refuses the network, its classes are not those of the data whose map is
            asked for, the folder holds other maps, or two images have one name.
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
        "weights": _digest(network),
        "of": of,
        "view": settings.view,
        "size": size,
        "precision": settings.precision,
    }
    _expect_same_maps(Path(folder), listed)
    paths = [_map_path(place, image_name(data, i), keep_extension) for i in range(len(data))]
    if len(set(paths)) < len(paths):
        twice = Counter(paths).most_common(1)[0][0]
        raise ValueError(
            f"write_maps: two images would be written to {twice}: keep the endings of their names"
        )
    wanted = [i for i, path in enumerate(paths) if not _is_whole(path, size)]
    fabric.barrier()  # all have looked before one writes: they share out the same list
    if fabric.is_global_zero:
        place.mkdir(parents=True, exist_ok=True)
        write_text(Path(folder) / "maps.json", json.dumps(listed, indent=1) + "\n")
    mine = shard(len(wanted), settings.batch, fabric)
    batches = [[wanted[i] for i in batch] for batch in mine]
    network.to(fabric.device).to(memory_format=torch.channels_last)
    hidden = not (settings.progress and fabric.is_global_zero)
    with _beside(fabric, settings) as pool:
        waiting: deque[Future[None]] = deque()
        loader = _loader(views, batches, fabric, settings.workers)
        for batch in tqdm(loader, unit="batch", disable=hidden):
            seen = unpack(batch)
            if of == "label" and not waiting:
                _expect_classes(network, data, seen[0], fabric)
            _, maps = _answers(network, batch, fabric, True, of)
            assert maps is not None
            maps = maps.cpu()
            for view, heatmap in zip(seen, maps, strict=True):
                waiting.append(pool.submit(_write_map, paths[view.number], heatmap, size))
            while len(waiting) > _BACKLOG * settings.batch:
                waiting.popleft().result()
        for future in waiting:
            future.result()
    fabric.barrier()
    return sum(map(len, batches))


def _digest(network: nn.Module) -> str:
    """Of the weights: a run that is trained anew has the name of the one before."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


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
