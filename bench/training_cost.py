"""What `training.fit` costs over its bare step: forward, backward and optimizer on a fixed batch.

An epoch of one step by fit's own code (images picked in random order, shifted, mirrored,
normalised; loss and accuracy counted and shown) and a bare step are timed in this one run, one
right after the other; who goes first alternates. A cost is the median of the paired ratios. It is
an upper bound: what happens once per epoch falls on a single step. One thread, CPU, random pixels;
the times are the process's own, so that what else the machine does hardly counts.
"""

import platform
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch.nn import functional
from torchvision.transforms import v2
from tqdm import tqdm

from camlib import networks, training

NETWORKS = ("alexnet-gap", "nin", "googlenet-gap")
REPEATS = 30
RECIPE = training.Recipe(epochs=10**6, rate=0.01)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    count = 2 * RECIPE.batch - 1  # as many as an epoch of one step can choose from
    images = torch.randint(256, (count, 3, 96, 96), dtype=torch.uint8, generator=generator)
    return images, torch.randint(16, (count,), generator=generator)


def made(name: str):
    torch.manual_seed(0)
    network = networks.create(name, num_classes=16, scale="lab")
    return network, *training.create_optimizer(network, RECIPE, RECIPE.epochs)


def real(name: str) -> Callable[[], None]:
    """An epoch of `fit`, by its own code."""
    network, optimizer, schedule = made(name)
    network.to(memory_format=torch.channels_last)
    images, labels = data()
    images = training.pad(images, RECIPE.shift)

    def run() -> None:
        with tqdm(total=1, leave=False) as bar:
            training.train_epoch(network, optimizer, schedule, images, labels, RECIPE, 0, bar)

    return run


def bare(name: str, memory_format: torch.memory_format = torch.channels_last):
    """A step on a batch that is ready."""
    network, optimizer, _ = made(name)
    network.to(memory_format=memory_format).train()
    images, labels = data()
    inputs = training.normalise(images[: RECIPE.batch], network)
    targets = labels[: RECIPE.batch]

    def run() -> None:
        loss = functional.cross_entropy(network(inputs), targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return run


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def paired(
    call: Callable[[], object], other: Callable[[], object], repeats: int = REPEATS
) -> tuple[float, float]:
    """Median of time(call) / time(other), and of time(other) in seconds."""
    call(), other()
    ratios, times = [], []
    for i in range(repeats):
        if i % 2:
            theirs, own = seconds(other), seconds(call)
        else:
            own, theirs = seconds(call), seconds(other)
        ratios.append(own / theirs)
        times.append(theirs)
    return statistics.median(ratios), statistics.median(times)


def augmentation() -> None:
    """The cut and mirror of a batch, next to v2's random transforms image by image."""
    images, _ = data()
    padded = training.pad(images, RECIPE.shift)
    batch = torch.randperm(len(images))[: RECIPE.batch]
    generator = torch.Generator().manual_seed(0)
    random = v2.Compose(
        [v2.RandomCrop(96, RECIPE.shift, padding_mode="reflect"), v2.RandomHorizontalFlip()]
    )
    ratio, own = paired(
        lambda: torch.stack([random(image) for image in images[batch]]),
        lambda: training.augment(padded, batch, RECIPE, generator),
        repeats=40,
    )
    print(f"\naugment: {1000 * own:.1f} ms for {len(batch)} images; v2 on each: {ratio:.1f} times")


def main() -> None:
    torch.set_num_threads(1)
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, {platform.machine()}, one thread"
    )
    print(f"\nlab networks at 96, batch {RECIPE.batch}")
    print(f"{'':16}{'bare step (ms)':>16}{'fit over bare':>16}{'channels first over last':>28}")
    for name in NETWORKS:
        ratio, time_ = paired(real(name), bare(name))
        first, _ = paired(bare(name, torch.contiguous_format), bare(name), repeats=10)
        print(f"{name:16}{1000 * time_:16.0f}{ratio:16.3f}{first:28.2f}", flush=True)
    augmentation()


if __name__ == "__main__":
    main()
