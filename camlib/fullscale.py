"""Training at full scale: data from disk, one process or several, stopped and gone on with.

    network = fullscale_data.create_network("googlenet-gap", 1000, pretrained=True)
    train(network, data, RECIPES["authors"], Run(folder="runs/googlenet-gap"))

Under torchrun every process runs the same lines. All chance (order, views, dropout) depends on the
recipe's seed and the step alone. So a training that was killed and resumed ends with the weights of
one that was not, equal to the bit on one machine's CPU with as many threads and processes.

It runs on Lightning Fabric, an extra of camlib: pip install "camlib[fullscale]".
"""

import copy
import csv
import io
import math
import os
import platform
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from camlib import training
from camlib.fullscale_card import versions, write_card, write_text
from camlib.fullscale_checkpoints import (
    checkpoint_path,
    checkpoint_to_resume,
    expect_same,
    identity,
    network_name,
    save_checkpoint,
)
from camlib.fullscale_data import (
    EvaluationViews,
    Parts,
    TrainingViews,
    View,
    expect_classes,
    seed_of,
)
from camlib.training import History, normalise

PRECISIONS = ("32-true", "bf16-mixed")
DEVICES = ("auto", "cpu", "cuda")
LOG = ("step", "epoch", "rate", "loss", "images_per_second")


@dataclass(frozen=True)
class Recipe(training.Recipe):
    """What decides the result: `training.Recipe`, and what large photographs need besides.

    Attributes:
        steps: end after so many steps, if `epochs` have not ended by then; None: no such end.
        tenth_every: share of all steps after each of which the rate is divided by ten, in place
            of the cosine; None: the cosine.
        nesterov: with SGD, Nesterov's momentum or the plain one.
        area: least share of the image's area that a view holds; its place, size and proportions
            are drawn at random (torchvision's RandomResizedCrop). 1: the view is the evaluation's
            cut, moved by up to `shift` pixels.
        shift: only with `area` 1.
    """

    shift: int = 0
    steps: int | None = None
    tenth_every: float | None = None
    nesterov: bool = True
    area: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, fits, expected in (
            ("steps", self.steps is None or _whole(self.steps, 1), "a whole number from 1 on"),
            (
                "tenth_every",
                self.tenth_every is None or _number(self.tenth_every, 0, 1),
                "a share of all steps, above 0 and up to 1",
            ),
            ("nesterov", isinstance(self.nesterov, bool), "True or False"),
            ("area", _number(self.area, 0, 1), "a share, above 0 and up to 1"),
            (
                "shift",
                self.area == 1 or self.shift == 0,
                "0 where area is below 1: then the view's place is random already",
            ),
        ):
            if not fits:
                raise ValueError(f"Recipe: {name} is {getattr(self, name)!r}, expected {expected}")

    def total_steps(self, images: int) -> int:
        """All steps of a training on so many images."""
        total = self.epochs * (images // self.batch)
        return total if self.steps is None else min(total, self.steps)

    def share_of_rate(self, step: int, steps: int) -> float:
        """The learning rate at a step (from 0) of so many, as a share of its peak."""
        if self.tenth_every is None or step < round(self.warmup * steps):
            return super().share_of_rate(step, steps)
        return 1.0 / float(10 ** math.floor(step / (self.tenth_every * steps) + 1e-9))


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any, above: float, most: float) -> bool:
    return isinstance(value, int | float) and above < value <= most


RECIPES = {
    # For weights that know photographs already: a gentle rate, views of half the image and more.
    "fine-tuning": Recipe(epochs=20, rate=0.01, area=0.5),
    # The authors' solver for GoogLeNet-GAP, as it is in the code they published; the paper itself
    # gives neither rates nor crops. SGD with momentum 0.9, weight decay 5e-4, rate 0.001 for new
    # and old layers alike, divided by ten every 40,000 of 160,000 steps of 64 images: on ILSVRC
    # 7.99 epochs. On a smaller data set it ends after 8 epochs, the rate divided at each quarter.
    # Not known, and taken from what was usual for Caffe: views of 224 at a random place in the
    # middle 256 pixels, half of them mirrored.
    "authors": Recipe(
        epochs=8,
        steps=160_000,
        rate=0.001,
        batch=64,
        momentum=0.9,
        weight_decay=5e-4,
        warmup=0.0,
        tenth_every=0.25,
        nesterov=False,
        shift=16,
    ),
}


@dataclass(frozen=True)
class Run:
    """How a training is carried out.

    Attributes:
        folder: for checkpoints, log.csv, run.json and run.md; new or empty, but to resume. On
            several machines one that all of them see.
        resume: go on from the last whole checkpoint in the folder; where there is none, begin.
        accumulate: parts into which a process cuts its share of a batch, one after the other, for
            a batch that does not fit into memory.
        precision: "32-true", or "bf16-mixed": the network in bfloat16, weights in float32.
        device: "cuda", "cpu", or "auto": the GPU where there is one.
        size: of the input in pixels; None: the network's own.
        workers: processes that read images, for each process that trains.
        minutes: between checkpoints; there is one after each epoch besides.
        keep: how many of the last checkpoints stay.
        log_every: steps from one line of the log to the next.
        progress: whether to show a bar.
        command: what the run card says the command was.
        dataset: what the run card calls the data set.
    """

    folder: str | Path
    resume: bool = False
    accumulate: int = 1
    precision: str = "32-true"
    device: str = "auto"
    size: int | None = None
    workers: int = 4
    minutes: float = 15.0
    keep: int = 3
    log_every: int = 50
    progress: bool = True
    command: str | None = None
    dataset: str | None = None

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("accumulate", _whole(self.accumulate, 1), "a whole number from 1 on"),
            ("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS)),
            ("device", self.device in DEVICES, " or ".join(DEVICES)),
            ("size", self.size is None or _whole(self.size, 1), "a number of pixels, or None"),
            ("workers", _whole(self.workers, 0), "a whole number from 0 on"),
            ("minutes", _number(self.minutes, 0, math.inf), "a number above 0"),
            ("keep", _whole(self.keep, 1), "a whole number from 1 on"),
            ("log_every", _whole(self.log_every, 1), "a whole number from 1 on"),
        ):
            if not fits:
                raise ValueError(f"Run: {name} is {getattr(self, name)!r}, expected {expected}")


def launched(device: str, precision: str) -> Any:
    """Lightning Fabric on the processes that torchrun started, or on this one alone.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        ValueError: if there is no such device.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    except ImportError as error:
        raise ImportError(
            "training and evaluation at full scale run on Lightning Fabric, which is not "
            'installed: pip install "camlib[fullscale]", or pip install lightning-fabric'
        ) from error
    there_is = torch.cuda.is_available()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    everywhere = int(os.environ.get("WORLD_SIZE", "1"))
    if device == "cuda" and not there_is:
        raise ValueError(
            "device is cuda, but torch finds no GPU here: look at nvidia-smi and at whether this "
            'torch is built for CUDA, or take device "cpu"'
        )
    on_gpu = there_is and device != "cpu"
    if on_gpu and here > torch.cuda.device_count():
        raise ValueError(
            f"torchrun started {here} processes here, but there are {torch.cuda.device_count()} "
            "GPUs: as many with --nproc-per-node"
        )
    fabric = Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=here,
        num_nodes=max(1, everywhere // here),
        strategy="ddp" if everywhere > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
        # Said, not guessed: inside a job of a cluster others would be found.
        plugins=[TorchElasticEnvironment() if everywhere > 1 else LightningEnvironment()],
    )
    fabric.launch()
    return fabric


# ---- the loop ----


def train(
    network: Any,
    data: Any,
    recipe: Recipe,
    run: Run,
    *,
    valid: Any = None,
) -> History:
    """Train a network in place; it ends in evaluation mode, on the device where it was trained.

    Each process takes an equal part of every batch, so a step is the same step with any number of
    processes, but for rounding, and for batch norm and dropout, which see the parts.

    Args:
        network: with `transform`, takes normalised images and gives logits; see
            `fullscale_data.create_network`.
        data: gives (image, target), has `classes`; see `camlib.datasets`.
        recipe: what decides the result.
        run: how it is carried out, and where what it writes goes.
        valid: data to measure the accuracy on after each epoch.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        ValueError: if network, data, recipe and run do not fit together or the checkpoint.
        OSError: if a file cannot be read or written.
        FloatingPointError: if the loss or a weight is no longer a finite number.
    """
    fabric = launched(run.device, run.precision)
    gpus = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(gpus):  # leaves the caller's chance alone
        return _Training(fabric, network, data, recipe, run, valid).go()


class _Training:
    def __init__(
        self, fabric: Any, network: Any, data: Any, recipe: Recipe, run: Run, valid: Any
    ) -> None:
        self.fabric, self.network, self.recipe, self.run = fabric, network, recipe, run
        self.data, self.valid = data, valid
        self.size = run.size or getattr(network, "input_size", None) or network.transform.size
        self.parts = fabric.world_size * run.accumulate
        self.per_epoch = len(data) // recipe.batch
        self.total = recipe.total_steps(len(data))
        self.folder = Path(run.folder)
        self._check()
        self.step, self.history = 0, History()
        self.epoch_sums = [0.0, 0.0, 0.0]  # of the epoch so far: loss, right answers, images
        self.epoch_seconds, self.trained_seconds, self.trained_images = 0.0, 0.0, 0
        self.last_checkpoint = Path()

    def _check(self) -> None:
        recipe, parts = self.recipe, self.parts
        if recipe.batch > len(self.data):
            raise ValueError(
                f"train: the batch is {recipe.batch}, but there are {len(self.data)} images: give "
                "a smaller batch"
            )
        if recipe.batch % parts:
            raise ValueError(
                f"train: the batch of {recipe.batch} cannot be cut into {parts} equal parts "
                f"({self.fabric.world_size} processes, accumulate {self.run.accumulate}): give a "
                "batch that can"
            )
        if recipe.shift >= self.size:
            raise ValueError(
                f"train: shift is {recipe.shift}, expected below {self.size}, the view"
            )
        image, label = TrainingViews(self.data, self.network.transform, recipe, self.size)[0, 0]
        modes = [(module, module.training) for module in self.network.modules()]
        with torch.inference_mode():
            self.network.eval()
            device = next(self.network.parameters()).device
            logits = self.network(normalise(image[None].to(device), self.network))
        for module, mode in modes:
            module.training = mode
        if logits.ndim != 2 or not 0 <= label < logits.shape[1]:
            raise ValueError(
                f"train: the network gives {tuple(logits.shape)} for one image of class {label}, "
                "expected logits (1, C) with one for each class"
            )
        expect_classes(self.network, self.data, logits.shape[1])
        if self.valid is not None and tuple(self.valid.classes) != tuple(self.data.classes):
            raise ValueError("train: the validation data have other classes than the training data")

    def go(self) -> History:
        fabric, network, recipe, run = self.fabric, self.network, self.recipe, self.run
        found = checkpoint_to_resume(self.folder, run.resume)
        fabric.barrier()  # all have looked before one writes
        # Channels last is how convolutions are computed fastest.
        network.to(memory_format=torch.channels_last)
        optimizer, schedule = training.create_optimizer(network, recipe, self.total)
        for group in optimizer.param_groups:
            group["nesterov"] = recipe.optimizer == "sgd" and recipe.nesterov
        self.optimizer, self.schedule = optimizer, schedule
        model, stepper = fabric.setup(network, optimizer)
        self.last_checkpoint = checkpoint_path(self.folder, 0)
        if found:
            self._restore(*found)
        if fabric.is_global_zero:
            self._start_files(found is None)
        views = TrainingViews(self.data, network.transform, recipe, self.size)
        mine = range(fabric.global_rank * run.accumulate, (fabric.global_rank + 1) * run.accumulate)
        loader = DataLoader(
            views,
            batch_sampler=Parts(
                len(self.data),
                recipe.batch,
                recipe.seed,
                self.parts,
                mine,
                range(self.step, self.total),
            ),
            num_workers=run.workers,
            pin_memory=fabric.device.type == "cuda",
        )
        bar = tqdm(
            total=self.total,
            initial=self.step,
            unit="step",
            disable=not (run.progress and fabric.is_global_zero),
        )
        self.sums = torch.zeros(3, dtype=torch.float64, device=fabric.device)
        self.not_finite = torch.tensor(self.total, device=fabric.device)  # the first such step
        self.since = self.saved = time.perf_counter()
        self.logged = self.step
        parts = iter(loader)
        network.train()
        try:
            while self.step < self.total:
                self._one_step(model, stepper, parts, mine)
                bar.update()
                at_end = self.step % self.per_epoch == 0 or self.step == self.total
                if at_end or self.step % run.log_every == 0:
                    is_due = self._log(bar)
                    if at_end or is_due:
                        self._share_statistics()
                    if at_end:
                        self._end_epoch()
                    if at_end or is_due:
                        self._save()
        finally:
            bar.close()
            network.eval()
        if fabric.is_global_zero:
            self._write_card()
        fabric.barrier()
        return self.history

    def _one_step(self, model: Any, stepper: Any, parts: Any, mine: range) -> None:
        fabric, recipe = self.fabric, self.recipe
        stepper.zero_grad(set_to_none=True)
        for part in mine:
            images, labels = next(parts)
            images = images.to(fabric.device, non_blocking=True)
            labels = labels.to(fabric.device, non_blocking=True)
            inputs = normalise(images, self.network).contiguous(memory_format=torch.channels_last)
            torch.manual_seed(seed_of(recipe.seed, "step", self.step, part))  # for dropout
            # The processes' gradients are averaged once a step, after the last part.
            waits = fabric.no_backward_sync(model) if part != mine[-1] else nullcontext()
            with waits:
                logits = model(inputs)
                loss = functional.cross_entropy(
                    logits, labels, label_smoothing=recipe.label_smoothing
                )
                fabric.backward(loss / len(mine))
            with torch.no_grad():
                # Kept on the device: to ask for the number would stop a GPU at every step.
                right = (logits.argmax(dim=1) == labels).sum()
                count = torch.tensor(float(len(labels)), dtype=torch.float64)
                self.sums += torch.stack(
                    [loss.double() * len(labels), right.double(), count.to(fabric.device)]
                )
                here = torch.where(loss.isfinite(), self.total, self.step)
                self.not_finite = torch.minimum(self.not_finite, here)
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        stepper.step()
        self.schedule.step()
        self.step += 1

    def _log(self, bar: Any) -> bool:
        """A line of the log from the sums of all processes; stops where they are not finite.

        Returns:
            Whether a checkpoint is due by the clock of the first process: the same on all.
        """
        is_due = time.perf_counter() - self.saved > 60 * self.run.minutes
        others = torch.tensor([float(self.not_finite), float(is_due)], dtype=torch.float64)
        mine = torch.cat([self.sums, others.to(self.sums)])
        gathered = self.fabric.all_gather(mine).reshape(-1, 5)
        first = int(gathered[:, 3].min())
        if first < self.total:
            raise self._diverged("the loss is no longer a finite number", first)
        sums = gathered[:, :3].sum(dim=0).tolist()
        seconds = time.perf_counter() - self.since
        self.since = time.perf_counter()
        self.sums.zero_()
        self.epoch_sums = [a + b for a, b in zip(self.epoch_sums, sums, strict=True)]
        self.epoch_seconds += seconds
        self.trained_seconds += seconds
        self.trained_images += (self.step - self.logged) * self.recipe.batch
        loss, speed = sums[0] / sums[2], sums[2] / seconds
        row = (self.step, self._epoch(), self._rate(self.step - 1), loss, round(speed, 1))
        bar.set_postfix(epoch=row[1], loss=f"{loss:.3f}", images_s=row[4], refresh=False)
        if self.fabric.is_global_zero:
            with (self.folder / "log.csv").open("a", newline="") as file:
                csv.writer(file).writerow(row)
        self.logged = self.step
        return bool(gathered[0, 4])

    def _share_statistics(self) -> None:
        """The first process's statistics of batch norm, on all: each has added its own parts."""
        if self.fabric.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def _end_epoch(self) -> None:
        loss, right, seen = self.epoch_sums
        self.history.loss.append(loss / seen)
        self.history.accuracy.append(right / seen)
        if self.valid is not None:
            self.history.valid_accuracy.append(self._valid_accuracy())
        self.history.rate.append(self._rate(self.step - 1))
        self.history.seconds.append(self.epoch_seconds)
        self.epoch_sums, self.epoch_seconds = [0.0, 0.0, 0.0], 0.0
        self.since = time.perf_counter()

    def _valid_accuracy(self) -> float:
        """Share of the validation images classified correctly, seen as the network's centre cut."""
        fabric, network = self.fabric, self.network
        views = EvaluationViews(self.valid, network.transform, "centre", self.size, truth=False)
        batches = shard(len(views), max(1, self.recipe.batch // self.parts), fabric)
        loader = DataLoader(
            views, batch_sampler=batches, num_workers=self.run.workers, collate_fn=_label_batch
        )
        counts = torch.zeros(2, dtype=torch.float64, device=fabric.device)
        network.eval()
        with torch.inference_mode(), fabric.autocast():
            for images, labels in loader:
                inputs = normalise(images.to(fabric.device), network)
                right = with_fine_head(network)(inputs).argmax(dim=1).cpu() == labels
                counts += torch.tensor([right.sum(), len(labels)]).to(counts)
        network.train()
        right_ones, seen = fabric.all_gather(counts).reshape(-1, 2).sum(dim=0).tolist()
        return float(right_ones / seen)

    def _epoch(self) -> int:
        return (self.step - 1) // self.per_epoch + 1

    def _rate(self, step: int) -> float:
        return self.recipe.rate * self.recipe.share_of_rate(step, self.total)

    def _diverged(self, what: str, step: int) -> FloatingPointError:
        good = self.last_checkpoint
        return FloatingPointError(
            f"train: {what}, first at step {step}, at a learning rate of {self._rate(step):.3g}. "
            f"The last good checkpoint is {good}. Training has diverged: train anew into another "
            "folder with a third of the rate, a longer warmup or clip 1.0, from the first weights "
            "or from those of the checkpoint"
        )

    # ---- files ----

    def _start_files(self, is_new: bool) -> None:
        (self.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        log = self.folder / "log.csv"
        rows: list[list[str]] = []
        if log.exists() and not is_new:
            with log.open(newline="") as file:
                rows = [
                    row
                    for row in csv.reader(file)
                    # Those after the checkpoint are written again; a last one may be cut short.
                    if len(row) == len(LOG) and row[0].isdecimal() and int(row[0]) <= self.step
                ]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([LOG, *rows])
        write_text(log, text.getvalue())
        if is_new:  # so that a first epoch cut short begins again from the same weights
            self._save()

    def _save(self) -> None:
        """A checkpoint, by the first process alone: all have the same weights."""
        state = self.network.state_dict()
        if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
            raise self._diverged("a weight is no longer a finite number", max(0, self.step - 1))
        self.saved = time.perf_counter()
        self.last_checkpoint = checkpoint_path(self.folder, self.step)
        if not self.fabric.is_global_zero:
            return
        network = self.network
        content = {
            "identity": self._identity(),
            "made": {
                "name": network_name(network),
                "scale": getattr(network, "scale", None),
                "size": self.size,
                "classes": list(map(str, self.data.classes)),
            },
            "processes": self.fabric.world_size,
            "accumulate": self.run.accumulate,
            "step": self.step,
            "epoch_sums": self.epoch_sums,
            "seconds": [self.epoch_seconds, self.trained_seconds],
            "images": self.trained_images,
            "history": asdict(self.history),
            "weights": state,
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
        }
        save_checkpoint(self.folder, self.run.keep, content)

    def _identity(self) -> dict[str, Any]:
        return identity(self.network, self.data, self.recipe, self.size, self.run.precision)

    def _restore(self, path: Path, content: dict[str, Any]) -> None:
        processes, accumulate = self.fabric.world_size, self.run.accumulate
        expect_same(path, content, self._identity(), self.network, processes, accumulate)
        self.network.load_state_dict(content["weights"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.step = content["step"]
        self.schedule.last_epoch = self.step
        for group, base in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = base * self.recipe.share_of_rate(self.step, self.total)
        self.epoch_sums, self.history = content["epoch_sums"], History(**content["history"])
        self.epoch_seconds, self.trained_seconds = content["seconds"]
        self.trained_images, self.last_checkpoint = content["images"], path

    def _write_card(self) -> None:
        history, run = self.history, self.run
        device = "CPU, " + platform.machine()
        if self.fabric.device.type == "cuda":
            device = torch.cuda.get_device_name(self.fabric.device)
        network = self.network
        card = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": run.command,
            "versions": versions(),
            "network": {
                **self._identity()["network"],
                "scale": getattr(network, "scale", None),
                "parameters": sum(p.numel() for p in network.parameters()),
                "input_size": self.size,
            },
            "data": {
                "name": run.dataset or type(self.data).__name__,
                "images": len(self.data),
                "classes": len(self.data.classes),
                "validation_images": None if self.valid is None else len(self.valid),
            },
            "recipe": asdict(self.recipe),
            "steps": self.step,
            "device": device,
            "processes": self.fabric.world_size,
            "threads": torch.get_num_threads(),
            "accumulate": run.accumulate,
            "precision": run.precision,
            "images_per_second": self.trained_images / max(self.trained_seconds, 1e-9),
            "seconds": self.trained_seconds,
            "metrics": {
                "loss": history.loss[-1],
                "accuracy": history.accuracy[-1],
                "valid_accuracy": history.valid_accuracy[-1] if history.valid_accuracy else None,
            },
            "history": asdict(history),
            "checkpoint": str(self.last_checkpoint),
        }
        write_card(self.folder, card, self.recipe)


def _label_batch(views: list[View]) -> tuple[Tensor, Tensor]:
    return torch.stack([v.image for v in views]), torch.tensor([v.label for v in views])


def with_fine_head(network: Any) -> Any:
    """The network, but what follows its last map computes in float32, whatever autocast says.

    In bfloat16, with eight bits, the highest scores are often equal, and equal scores are missed
    or decided by their order: seen with the two highest of 1,000 in 1.6 % of views, with the fifth
    and sixth in 6.6 % (EfficientNet-Lite0, 256 cuts from the bundled photographs).

    Args:
        network: is left as it is; without timm's `forward_head` it is returned itself.

    Returns:
        A copy that shares all weights.
    """
    head = getattr(network, "forward_head", None)
    if head is None:
        return network

    def forward_head(features: Tensor) -> Any:
        with torch.autocast(features.device.type, enabled=False):
            return head(features.float())

    fine = copy.copy(network)
    fine.forward_head = forward_head
    return fine


def shard(length: int, batch: int, fabric: Any) -> list[list[int]]:
    """The batches of this process: whole ones, so that each is the same on any number of them."""
    every = [list(range(i, min(i + batch, length))) for i in range(0, length, batch)]
    return every[fabric.global_rank :: fabric.world_size]
