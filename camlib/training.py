"""Training a network on pictures in memory: a recipe, the loop, checkpoints, and its answers.

    recipe = Recipe(epochs=10, rate=0.05)
    history = fit(network, images, labels, recipe, valid=(valid_images, valid_labels))
    logits = predict(network, test_images)

Chance (order, shifts, flips, dropout) depends on the recipe's seed and the epoch alone. So two runs
on one machine's CPU with as many threads end equal to the bit, also where one of them was stopped
and went on.
"""

import hashlib
import math
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torchvision.transforms import v2 as transforms
from tqdm.auto import tqdm

_Data = tuple[Tensor, Tensor]  # images uint8 (n, 3, h, w), labels int64 (n,)
FORMAT = "camlib.training checkpoint 1"
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: warm-up of the learning rate, then a cosine down to zero.

    Attributes:
        epochs: passes over the training images.
        rate: learning rate at its peak.
        batch: images per step. Those left over by the last whole batch wait for another epoch.
        momentum: 0 to below 1; with AdamW its first beta.
        weight_decay: on every parameter, biases and batch norm too.
        warmup: share of all steps, 0 to 1, over which the rate grows linearly to its peak.
        label_smoothing: 0 to below 1; the share of the target spread over all classes.
        shift: each image is moved by up to so many pixels along each axis, its border reflected.
        flip: whether every other image, by chance, is mirrored left to right.
        clip: largest norm of the whole gradient; None leaves it as it is.
        trunk_rate: learning rate of all but the network's classifier, as a share of `rate`. Below
            1 for fine-tuning, where the trunk is trained already and the head is new.
        seed: of order, shifts, flips and dropout. The network's first weights are its maker's.
        optimizer: "sgd", with Nesterov momentum; or "adamw", which transformers need.

    Raises:
        ValueError: if a value cannot be used.
    """

    epochs: int
    rate: float
    batch: int = 64
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    shift: int = 8
    flip: bool = True
    clip: float | None = None
    trunk_rate: float = 1.0
    seed: int = 0
    optimizer: str = "sgd"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"Recipe: optimizer is {self.optimizer!r}, expected one of {', '.join(OPTIMIZERS)}"
            )
        tiny, huge, below_one = math.ulp(0.0), sys.float_info.max, math.nextafter(1.0, 0.0)
        for name, least, most, expected in (
            ("epochs", 1, huge, "a whole number from 1 on"),
            ("rate", tiny, huge, "a number above 0"),
            ("batch", 1, huge, "a whole number from 1 on"),
            ("momentum", 0, below_one, "a number from 0 to below 1"),
            ("weight_decay", 0, huge, "a number from 0 on"),
            ("warmup", 0, 1, "a share of all steps, from 0 to 1"),
            ("label_smoothing", 0, below_one, "a number from 0 to below 1"),
            ("shift", 0, huge, "a whole number from 0 on"),
            ("flip", 0, 1, "True or False"),
            ("clip", tiny, huge, "a number above 0, or None"),
            ("trunk_rate", tiny, huge, "a number above 0 (to freeze: requires_grad_(False))"),
            ("seed", 0, huge, "a whole number from 0 on"),
        ):
            value, kind = getattr(self, name), Recipe.__annotations__[name]
            fits = isinstance(value, kind | int)  # whole numbers pass as float
            if not fits or not (value is None or least <= value <= most):
                raise ValueError(f"Recipe: {name} is {value!r}, expected {expected}")

    def share_of_rate(self, step: int, steps: int) -> float:
        """The learning rate at a step (from 0) of so many, as a share of its peak."""
        warm = round(self.warmup * steps)
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


@dataclass
class History:
    """What happened, one number per epoch.

    Attributes:
        loss: mean training loss, on the shifted and flipped images, while the weights moved.
        accuracy: share of those images classified correctly, 0 to 1.
        valid_accuracy: share of the validation images, after the epoch; empty without them.
        rate: learning rate of the classifier in the epoch's last step.
        seconds: time the epoch took.
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    valid: _Data | None = None,
    device: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Train a network in place. It ends in evaluation mode, on the device where it was.

    Parameters that do not require a gradient stay as they are (batch norm's running means move
    all the same). On a GPU the forward pass runs in bfloat16.

    Args:
        network: takes normalised images (N, 3, h, w), gives logits (N, C).
        images: uint8 (n, 3, h, w), in memory.
        labels: int64 (n,), from 0 to C - 1.
        valid: images and labels to measure the accuracy on after each epoch.
        device: where to train; by default the GPU where there is one, else the CPU.
        checkpoint: a file, written after each epoch. Where it exists, training goes on from it
            (and ends as if it had never stopped), or is over at once if it was finished. Network,
            images, labels and recipe must be the same again.
        progress: whether to show a bar.

    Raises:
        ValueError: if network, images and labels do not fit together, or the checkpoint is not
            one of this training; the file is left as it is.
        OSError: if the checkpoint cannot be written; one from before is left as it is.
        FloatingPointError: if the loss or a weight is no longer a finite number.
        KeyboardInterrupt: as it came, with a word on how to go on.
    """
    path = Path(checkpoint).resolve() if checkpoint else None  # a link stays, its file is replaced
    history = History()
    with _placed(network, device) as device:
        _check_data("images", network, (images, labels), device)
        if valid is not None:
            _check_data("valid images", network, valid, device)
        padded = pad(images, recipe.shift)
        steps = max(1, len(images) // recipe.batch)
        total = steps * recipe.epochs
        optimizer, schedule = create_optimizer(network, recipe, total)
        parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
        if path:
            identity = _identity(network, (images, labels), valid, recipe)
            if path.exists():
                history = _load(path, identity, parts)
            else:  # so that a first epoch cut short begins again from the same weights
                _save(path, identity, parts, history)
        first = len(history.loss)
        bar = tqdm(total=total, initial=first * steps, unit="step", disable=not progress)
        try:
            for epoch in range(first, recipe.epochs):
                start = time.perf_counter()
                bar.set_description(f"epoch {epoch + 1}/{recipe.epochs}", refresh=False)
                loss, accuracy = train_epoch(
                    network, optimizer, schedule, padded, labels, recipe, epoch, bar
                )
                history.loss.append(loss)
                history.accuracy.append(accuracy)
                if valid is not None:
                    answers = _logits(network, valid[0], device).argmax(dim=1)
                    right = (answers == valid[1].cpu()).double().mean()
                    history.valid_accuracy.append(right.item())
                last = (epoch + 1) * steps - 1
                history.rate.append(recipe.rate * recipe.share_of_rate(last, total))
                history.seconds.append(time.perf_counter() - start)
                if path:
                    _save(path, identity, parts, history)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"fit: stopped in epoch {epoch + 1} of {recipe.epochs}; with a checkpoint the same "
                "call goes on from the last whole epoch"
            ) from None
        finally:
            bar.close()
            network.eval()
    return history


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    padded: Tensor,
    labels: Tensor,
    recipe: Recipe,
    epoch: int,
    bar: Any,
) -> tuple[float, float]:
    """One pass over the images, `pad`ded, in random order: mean loss, share classified right."""
    device = next(network.parameters()).device
    gpus = [device] if device.type == "cuda" else []
    # Two streams of chance per epoch: networks with other dropout still get the same batches.
    seeds = np.random.SeedSequence([recipe.seed, epoch]).generate_state(2, np.uint64)
    generator = torch.Generator().manual_seed(int(seeds[0]))
    size = min(recipe.batch, len(labels))
    order = torch.randperm(len(labels), generator=generator)[: len(labels) // size * size]
    loss_sum, right, seen = 0.0, 0, 0
    network.train()  # batch norm by the batch's own statistics, dropout on
    with torch.random.fork_rng(gpus), torch.enable_grad():  # leaves the caller's chance alone
        torch.manual_seed(int(seeds[1]))
        for batch in torch.split(order, size):
            inputs = augment(padded, batch, recipe, generator).to(device)
            inputs, targets = normalise(inputs, network), labels[batch].to(device)
            # bfloat16 has float32's range, so that no gradient needs scaling.
            with torch.autocast(device.type, torch.bfloat16, enabled=bool(gpus)):
                logits = network(inputs)
                loss = functional.cross_entropy(
                    logits, targets, label_smoothing=recipe.label_smoothing
                )
            if not math.isfinite(loss.item()):  # before the step, so that no weight is spoilt
                raise _diverged(f"the loss is {loss.item()}", schedule)
            optimizer.zero_grad(set_to_none=True)  # gradients would add up; None costs no filling
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()  # the rate changes with every step, not with every epoch
            loss_sum += loss.item() * size
            right += int((logits.argmax(dim=1) == targets).sum())
            seen += size
            bar.set_postfix(loss=loss_sum / seen, accuracy=right / seen, refresh=False)
            bar.update()
    # A last step can overflow weights after a loss that was finite.
    if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
        raise _diverged("a weight is no longer a number", schedule)
    return loss_sum / seen, right / seen


def pad(images: Tensor, shift: int) -> Tensor:
    """Images (n, 3, h + 2 shift, w + 2 shift), their border reflected: once for all epochs."""
    count, channels, height, width = images.shape
    padded = images.new_empty(count, channels, height + 2 * shift, width + 2 * shift)
    # Part by part, for torchvision reflects in float32, four times the memory.
    for part, place in zip(torch.split(images, 256), torch.split(padded, 256), strict=True):
        place.copy_(transforms.functional.pad(part, [shift] * 4, padding_mode="reflect"))
    return padded


def augment(padded: Tensor, batch: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The images (N, 3, h, w) of a batch, each shifted and mirrored by chance of its own.

    Args:
        padded: all images, from `pad(images, recipe.shift)`.
        batch: indices (N,).
    """
    height, width = (side - 2 * recipe.shift for side in padded.shape[2:])
    corners = torch.randint(2 * recipe.shift + 1, (len(batch), 2), generator=generator).tolist()
    mirrored = (torch.rand(len(batch), generator=generator) < 0.5 * recipe.flip).tolist()
    windows = []
    for i, (top, left), mirror in zip(batch.tolist(), corners, mirrored, strict=True):
        window = transforms.functional.crop(padded[i], top, left, height, width)
        windows.append(transforms.functional.horizontal_flip(window) if mirror else window)
    return torch.stack(windows)


def normalise(images: Tensor, network: nn.Module) -> Tensor:
    """Images uint8 (N, 3, h, w) as the network's input: float32, by its transform's mean and std.

    A network without a `transform` gets mean = std = 0.5, that is values from -1 to 1.

    Raises:
        ValueError: if the images are no such tensor.
    """
    _check_images("normalise", "images", images)
    mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in _mean_std(network))
    return images.float().sub_(255 * mean).div_(255 * std)


def predict(network: nn.Module, images: Tensor, batch: int = 250, device: Any = None) -> Tensor:
    """Logits (n, C) of images, float32 on the CPU, computed in evaluation mode.

    Modes and device of the network are left as they were.

    Args:
        network: takes normalised images (N, 3, h, w), gives logits (N, C).
        images: uint8 (n, 3, h, w).
        batch: images at once; only memory and time depend on it, and rounding.
        device: where to compute; by default the GPU where there is one, else the CPU.

    Raises:
        ValueError: if the images are no such tensor.
    """
    _check_images("predict", "images", images)
    with _placed(network, device) as device:
        return _logits(network, images, device, batch)


def _logits(network: nn.Module, images: Tensor, device: torch.device, batch: int = 250) -> Tensor:
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode():
            parts = [
                network(normalise(part.to(device), network)).float().cpu()
                for part in torch.split(images, batch)
            ]
    finally:
        for module, training in modes:
            module.training = training
    return torch.cat(parts)  # outside inference mode: an ordinary tensor


def create_optimizer(
    network: nn.Module, recipe: Recipe, total: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """On the parameters that require a gradient, and the learning rate over `total` steps.

    Raises:
        ValueError: if no parameter requires a gradient, or with `trunk_rate` none of the head.
    """
    learned = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": learned}]
    if recipe.trunk_rate != 1:
        classifier = getattr(network, "get_classifier", nn.Identity)()
        head = [p for p in classifier.parameters() if p.requires_grad]
        trunk = [p for p in learned if all(p is not other for other in head)]
        groups = [{"params": head}, {"params": trunk, "lr": recipe.rate * recipe.trunk_rate}]
    if not groups[0]["params"]:
        where = "" if recipe.trunk_rate == 1 else " in get_classifier(), which trunk_rate asks for"
        raise ValueError(
            f"fit: {type(network).__name__} has no parameter that requires a gradient{where}, so "
            "there is nothing to train: call requires_grad_() on it, or leave trunk_rate at 1"
        )
    common: dict[str, Any] = {"lr": recipe.rate, "weight_decay": recipe.weight_decay}
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), **common)
    else:
        optimizer = torch.optim.SGD(
            groups, momentum=recipe.momentum, nesterov=recipe.momentum > 0, **common
        )
    return optimizer, LambdaLR(optimizer, lambda step: recipe.share_of_rate(step, total))


@contextmanager
def _placed(network: nn.Module, device: Any) -> Iterator[torch.device]:
    """The network on a device, by default the GPU where there is one, then back where it was."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device)
    home = next((p.device for p in network.parameters()), torch.device("cpu"))
    # Channels last is how convolutions are computed fastest: on a CPU, half the time of a step.
    network.to(device).to(memory_format=torch.channels_last)
    try:
        yield device
    finally:
        network.to(home).to(memory_format=torch.contiguous_format)


def _mean_std(network: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    transform: Any = getattr(network, "transform", None)
    half = (0.5, 0.5, 0.5)
    return getattr(transform, "mean", half), getattr(transform, "std", half)


def _diverged(what: str, schedule: LambdaLR) -> FloatingPointError:
    rate = schedule.get_last_lr()[0]
    return FloatingPointError(
        f"fit: {what} at step {schedule.last_epoch}, at a learning rate of {rate:.3g}. Training "
        "has diverged: try a third of the rate, a longer warmup, or clip=1.0; if this is step 0, "
        "look for weights that are not finite"
    )


def _check_images(function: str, name: str, images: Any) -> None:
    fits = isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 4
    if not fits or images.shape[1] != 3 or not images.numel():
        raise ValueError(
            f"{function}: got {name} {_kind(images)}, expected a tensor of uint8 (n, 3, h, w) with "
            "at least one image; they are normalised batch by batch"
        )


def _check_data(name: str, network: nn.Module, data: Any, device: torch.device) -> None:
    """Everything that would else fail late, or not at all."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"fit: got {name} {_kind(data)}, expected a pair: (images, labels)")
    images, labels = data
    _check_images("fit", name, images)
    fits = isinstance(labels, Tensor) and labels.dtype == torch.int64
    if not fits or labels.shape != images.shape[:1]:
        raise ValueError(
            f"fit: got labels {_kind(labels)} beside {len(images)} {name}, expected int64 "
            f"({len(images)},)"
        )
    logits = _logits(network, images[:1], device)
    least, most = int(labels.min()), int(labels.max())
    if logits.ndim != 2 or least < 0 or most >= logits.shape[1]:
        raise ValueError(
            f"fit: the labels of {name} run from {least} to {most}, but {type(network).__name__} "
            f"gives {tuple(logits.shape)} for one image: expected logits (1, C), labels 0 to C - 1"
        )


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__


def _identity(
    network: nn.Module, data: _Data, valid: _Data | None, recipe: Recipe
) -> dict[str, Any]:
    """What must be the same for a training to go on: by value, or as a hash."""
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    learned = [name for name, p in network.named_parameters() if p.requires_grad]
    # The layers as printed, for two networks may differ in their pool alone.
    description = [str(network), shapes, learned, _mean_std(network)]
    return {
        "recipe": asdict(recipe),
        "network": hashlib.sha256(repr(description).encode()).hexdigest(),
        "images and labels": _hash(*data),
        "validation images and labels": None if valid is None else _hash(*valid),
    }


def _hash(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr(tuple(tensor.shape)).encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def _save(path: Path, identity: dict[str, Any], parts: dict[str, Any], history: History) -> None:
    content = {"format": FORMAT, "identity": identity, "history": asdict(history)}
    content |= {name: part.state_dict() for name, part in parts.items()}
    write_checkpoint("fit", path, content)


def write_checkpoint(caller: str, path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint beside its place, then move it there: no moment sees half a file.

    Raises:
        OSError: if it cannot be written, in the name of the function that the reader called.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the new name on missing bytes
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{caller}: cannot write the checkpoint {path}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _load(path: Path, identity: dict[str, Any], parts: dict[str, Any]) -> History:
    """Bring the parts to where a checkpoint left them, once it is known to be of this training."""
    advice = "It is left as it is: give another path, or move it away to start anew"
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not look at the checksums
        content = torch.load(path, map_location="cpu", weights_only=True)
        if damaged or not isinstance(content, dict) or content["format"] != FORMAT:
            raise ValueError(damaged)
    except Exception as error:
        raise ValueError(
            f"fit: {path} is no checkpoint of fit, or damaged ({type(error).__name__}). {advice}"
        ) from error
    content["identity"]["recipe"].setdefault("optimizer", "sgd")  # older checkpoints have none
    for name, value in identity.items():
        found = content["identity"][name]
        if found != value:
            what = name
            if name == "recipe":
                other = [f"{k}={v!r}" for k, v in found.items() if v != value.get(k)]
                what += f" ({', '.join(other)})"
            raise ValueError(f"fit: the checkpoint {path} is of another {what}. {advice}")
    for name, part in parts.items():
        part.load_state_dict(content[name])
    return History(**content["history"])
