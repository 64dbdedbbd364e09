"""camlib.training against steps written by hand, formulas, interruptions and damaged files."""

import dataclasses
import io
import itertools
import math
import os
import stat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2

from camlib import training
from camlib.training import Recipe, fit, normalise, predict

RECIPE = Recipe(epochs=4, rate=0.1, batch=32, shift=2)


@pytest.fixture(scope="module", autouse=True)  # before the trainings that tests share
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tiny(nn.Module):
    """Two convolutions, batch norm, dropout, pool, linear: all that has a state or a chance."""

    def __init__(self, classes=4, dropout=0.3, seed=1, pool="avg"):
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.trunk = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, padding=1),
                nn.ReLU(),
                nn.Dropout(dropout),
            )
            self.pool = nn.AdaptiveAvgPool2d(1) if pool == "avg" else nn.AdaptiveMaxPool2d(1)
            self.head = nn.Linear(8, classes)

    def forward(self, images):
        return self.head(self.pool(self.trunk(images)).flatten(1))

    def get_classifier(self):
        return self.head


def colours(count=200, size=10, seed=0):
    """Noise with one channel raised (classes 0 to 2), or none (class 3)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    images = torch.randint(100, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    raised = labels < 3
    images[raised, labels[raised]] += 100
    return images, labels


IMAGES, LABELS = colours()
VALID = colours(70, seed=1)


def trained(network=None, recipe=RECIPE, **options):
    network = Tiny() if network is None else network
    return network, fit(network, IMAGES, LABELS, recipe, progress=False, **options)


def same(network, other):
    mine, theirs = network.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in mine)


def numbers(history):
    """A history without its times, which no two runs share."""
    return dataclasses.replace(history, seconds=[])


def stopping(network, step, error=KeyboardInterrupt):
    """Raise in the forward pass of a training step, counted from 0."""
    passed = 0

    def stop(module, inputs):
        nonlocal passed
        if module.training:
            if passed == step:
                raise error
            passed += 1

    return network.register_forward_pre_hook(stop)


# It learns, and the step is the one that is promised.


def test_learns_a_separable_task_and_tells_the_history():
    network, history = trained(recipe=dataclasses.replace(RECIPE, epochs=8), valid=VALID)
    assert history.valid_accuracy[-1] >= 0.95
    assert history.accuracy[-1] > history.accuracy[0]
    assert history.loss[-1] < 0.5 * history.loss[0]
    logits = predict(network, VALID[0])
    right = sum(
        int(row.argmax()) == int(label) for row, label in zip(logits, VALID[1], strict=True)
    )
    assert history.valid_accuracy[-1] == right / len(VALID[1])
    assert all(len(numbers_) == 8 for numbers_ in dataclasses.asdict(history).values())
    assert all(seconds > 0 for seconds in history.seconds)


def test_without_validation_there_is_no_such_accuracy():
    assert trained()[1].valid_accuracy == []


def hand_made(network, recipe, batches):
    """SGD as in the formulas of Sutskever et al. (2013) in torch's form, on given batches.

    Gradient g plus decay; velocity v = momentum v + g; step by g + momentum v.
    """
    velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    network.train()
    for step, (images, labels) in enumerate(batches):
        logits = network((images.float() / 255 - 0.5) / 0.5)
        log = logits.log_softmax(dim=1)
        smooth = recipe.label_smoothing
        loss = -((1 - smooth) * log[range(len(labels)), labels] + smooth * log.mean(dim=1)).mean()
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        norm = math.sqrt(sum(float(g.pow(2).sum()) for g in gradients))
        scale = min(1.0, recipe.clip / norm) if recipe.clip else 1.0
        rate = recipe.rate * schedule_by_hand(recipe, step, len(batches))
        with torch.no_grad():
            for (name, p), g in zip(network.named_parameters(), gradients, strict=True):
                share = 1.0 if name.startswith("head") else recipe.trunk_rate
                g = g * scale + recipe.weight_decay * p
                velocity[name] = recipe.momentum * velocity[name] + g
                p -= rate * share * (g + recipe.momentum * velocity[name])
    return network


def schedule_by_hand(recipe, step, steps):
    """Straight up to 1 over the warm-up, then half a cosine that would reach 0 after the end."""
    warm = round(recipe.warmup * steps)
    if step < warm:
        return np.linspace(0, 1, warm + 1)[1:][step]
    return np.cos(np.linspace(0, np.pi, steps - warm + 1)[step - warm]) / 2 + 0.5


FULL = Recipe(
    epochs=6,
    rate=0.2,
    batch=200,
    shift=0,
    flip=False,
    weight_decay=0.05,
    momentum=0.8,
    warmup=0.5,
    label_smoothing=0.2,
    clip=0.3,
    trunk_rate=0.25,
)


@pytest.mark.parametrize(
    ("left_out", "value"),
    [
        (None, None),
        ("weight_decay", 0.0),
        ("momentum", 0.0),
        ("label_smoothing", 0.0),
        ("clip", None),
        ("trunk_rate", 1.0),
        ("warmup", 0.0),
    ],
)
def test_steps_equal_those_made_by_hand(left_out, value):
    # One batch holds all images, so that their order matters no more than rounding.
    network, _ = trained(Tiny(dropout=0.0), FULL)
    recipe = dataclasses.replace(FULL, **{left_out: value}) if left_out else FULL
    by_hand = hand_made(Tiny(dropout=0.0), recipe, [(IMAGES, LABELS)] * FULL.epochs)
    gaps = [
        (mine - theirs).abs().max().item()
        for mine, theirs in zip(network.parameters(), by_hand.parameters(), strict=True)
    ]
    if left_out is None:
        assert max(gaps) < 1e-4
    else:
        assert max(gaps) > 1e-3, f"a step without {left_out} would pass too"


ADAMW = dataclasses.replace(FULL, optimizer="adamw", rate=0.02, weight_decay=0.5)


@pytest.mark.parametrize(
    ("left_out", "value"),
    [
        (None, None),
        ("weight_decay", 0.0),
        ("momentum", 0.9),  # torch's own first beta
        ("trunk_rate", 1.0),
        ("optimizer", torch.optim.Adam),  # decays through the gradient
    ],
)
def test_steps_with_adamw_are_torchs_own(left_out, value):
    network, _ = trained(Tiny(dropout=0.0), ADAMW)
    recipe, kind = ADAMW, torch.optim.AdamW
    if left_out == "optimizer":
        kind = value
    elif left_out:
        recipe = dataclasses.replace(ADAMW, **{left_out: value})
    theirs = Tiny(dropout=0.0).train()
    optimizer = kind(
        [{"params": theirs.head.parameters()}, {"params": theirs.trunk.parameters()}],
        betas=(recipe.momentum, 0.999),
        weight_decay=recipe.weight_decay,
    )
    for step in range(recipe.epochs):
        rate = recipe.rate * schedule_by_hand(recipe, step, recipe.epochs)
        for group, share in zip(optimizer.param_groups, (1, recipe.trunk_rate), strict=True):
            group["lr"] = rate * share
        optimizer.zero_grad()
        functional.cross_entropy(
            theirs(normalise(IMAGES, theirs)), LABELS, label_smoothing=recipe.label_smoothing
        ).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), recipe.clip)
        optimizer.step()
    gaps = [
        (p - theirs.get_parameter(name)).abs().max().item()
        for name, p in network.named_parameters()
        # Batch norm takes this one away: its gradient is rounding, which Adam makes large.
        if name != "trunk.0.bias"
    ]
    if left_out is None:
        assert max(gaps) < 1e-4
    else:
        assert max(gaps) > 1e-3, f"a step with another {left_out} would pass too"


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 1.0), (10, 0.0), (40, 0.1), (7, 0.5)])
def test_schedule_is_a_ramp_and_half_a_cosine(steps, warmup):
    recipe = Recipe(epochs=1, rate=0.3, warmup=warmup)
    shares = [recipe.share_of_rate(step, steps) for step in range(steps)]
    expected = [schedule_by_hand(recipe, step, steps) for step in range(steps)]
    assert shares == pytest.approx(expected)
    assert max(shares) == pytest.approx(1.0)
    assert min(shares) > 0, "a step at rate 0 is wasted"


def test_the_history_holds_the_rate_of_each_epochs_last_step():
    seen = []
    network = Tiny()
    step = torch.optim.SGD.step

    def watched(optimizer, *args, **kwargs):
        seen.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", watched)
        _, history = trained(network)
    assert len(seen) == 4 * (200 // 32)
    assert history.rate == pytest.approx(seen[5::6])
    expected = [0.1 * schedule_by_hand(RECIPE, i, 24) for i in range(24)]
    assert seen == pytest.approx(expected)


def test_frozen_parameters_stay_and_the_others_move():
    network = Tiny()
    network.trunk.requires_grad_(False)
    before = {name: p.clone() for name, p in network.named_parameters()}
    trained(network)
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("trunk"), name


def test_a_network_of_which_only_the_head_learns_takes_a_trunk_rate():
    network = Tiny()
    network.trunk.requires_grad_(False)
    other = Tiny()
    other.trunk.requires_grad_(False)
    trained(network, dataclasses.replace(RECIPE, trunk_rate=0.1))
    trained(other)
    assert same(network, other)


# What the network sees.


def seen_by(recipe, images=None, labels=None, epochs=1):
    """The inputs of every training step."""
    images, labels = (IMAGES, LABELS) if images is None else (images, labels)
    inputs = []
    network = Tiny()
    network.register_forward_pre_hook(
        lambda module, args: inputs.append(args[0].clone()) if module.training else None
    )
    fit(network, images, labels, dataclasses.replace(recipe, epochs=epochs), progress=False)
    return inputs


def test_every_image_is_a_window_of_its_padded_self_maybe_mirrored():
    recipe = Recipe(epochs=1, rate=0.01, batch=50, shift=2)
    pictures = IMAGES[:50]
    (batch,) = seen_by(recipe, pictures, LABELS[:50])
    padded = np.pad(pictures.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    padded = torch.from_numpy(padded.astype(np.float32) / 255 * 2 - 1)
    found = []
    for top, left, mirrored in itertools.product(range(5), range(5), (False, True)):
        windows = padded[:, :, top : top + 10, left : left + 10]
        windows = windows.flip(-1) if mirrored else windows
        gaps = (batch[:, None] - windows[None]).abs().amax(dim=(2, 3, 4))
        found += [(i, top, left, mirrored) for i in (gaps < 1e-5).nonzero()[:, 1].tolist()]
    assert sorted(i for i, *_ in found) == list(range(50)), "each image once, none spoilt"
    # Offsets over their whole range, along both axes on their own, mirrored about half the time.
    assert {top for _, top, _, _ in found} == {left for _, _, left, _ in found} == set(range(5))
    assert len({(top, left) for _, top, left, _ in found}) > 12
    assert 12 < sum(mirrored for *_, mirrored in found) < 38


def test_without_shift_and_flip_images_come_as_they_are():
    (batch,) = seen_by(Recipe(epochs=1, rate=0.01, batch=200, shift=0, flip=False))
    key = lambda images: sorted(image.sum().item() for image in images)  # noqa: E731
    assert key(batch) == pytest.approx(key((IMAGES / 255 - 0.5) / 0.5), abs=1e-2)


def test_epochs_have_orders_of_their_own_and_leave_the_rest_out():
    recipe = Recipe(epochs=2, rate=0.01, batch=64, shift=0, flip=False)
    inputs = seen_by(recipe, epochs=2)
    assert [len(batch) for batch in inputs] == [64] * 6
    first, second = torch.cat(inputs[:3]), torch.cat(inputs[3:])
    assert len({image.numpy().tobytes() for image in first}) == 192, "no image twice"
    assert not torch.equal(first, second)


def test_networks_with_other_dropout_get_the_same_batches():
    inputs = {}
    for dropout in (0.0, 0.5):
        network = Tiny(dropout=dropout)
        inputs[dropout] = []
        network.register_forward_pre_hook(
            lambda module, args, to=inputs[dropout]: to.append(args[0].clone())
        )
        trained(network)
    assert all(torch.equal(*pair) for pair in zip(*inputs.values(), strict=True))


def test_a_batch_larger_than_all_images_is_all_images():
    inputs = seen_by(Recipe(epochs=1, rate=0.01, batch=1000, shift=0))
    assert [len(batch) for batch in inputs] == [200]


def test_normalise_follows_the_networks_transform():
    images = IMAGES[:4]
    imagenet = SimpleNamespace(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    network = Tiny()
    half = normalise(images, network)
    assert half.min() >= -1
    assert torch.allclose(half, images / 127.5 - 1, atol=1e-6)
    network.transform = imagenet
    expected = v2.functional.normalize(images / 255, list(imagenet.mean), list(imagenet.std))
    torch.testing.assert_close(normalise(images, network), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(half, expected, atol=0.1)
    with pytest.raises(ValueError, match=r"normalise: got images torch.float32 \(4, 3, 10, 10\)"):
        normalise(images / 255, network)  # twice normalised, and changed in place


# Answers.


def plain(network, images):
    network.eval()
    with torch.no_grad():
        return torch.cat([network(image[None] / 255 * 2 - 1) for image in images])


@pytest.mark.parametrize("batch", [1, 7, 64, 200, 500])
def test_predict_equals_a_plain_loop(batch):
    network = Tiny()
    torch.testing.assert_close(
        predict(network, IMAGES, batch), plain(network, IMAGES), atol=1e-5, rtol=1e-5
    )


def test_predict_leaves_modes_gradients_and_memory_layout_as_they_were():
    network = Tiny().train()
    network.trunk[1].eval()  # batch norm frozen on its own
    modes = [module.training for module in network.modules()]
    buffers = [buffer.clone() for buffer in network.buffers()]
    logits = predict(network, IMAGES)
    assert [module.training for module in network.modules()] == modes
    assert all(map(torch.equal, network.buffers(), buffers))
    assert torch.is_grad_enabled()
    assert all(p.requires_grad and p.is_contiguous() for p in network.parameters())
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert not logits.is_inference(), "an inference tensor could not enter a computation again"


def test_predict_leaves_the_modes_also_where_the_network_fails():
    network = Tiny().train()
    network.trunk[0].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(network, IMAGES)
    assert all(module.training for module in network.modules())


# The same again, and nothing left behind.


def test_two_runs_are_equal_and_other_seeds_are_not():
    (network, history), (other, again) = trained(valid=VALID), trained(valid=VALID)
    assert same(network, other)
    assert numbers(history) == numbers(again)
    assert not same(network, trained(recipe=dataclasses.replace(RECIPE, seed=1))[0])


def test_chance_modes_and_gradients_of_the_caller_are_untouched():
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(3)
    np.random.seed(3)
    network = Tiny()
    with torch.no_grad():
        _, history = trained(network, valid=VALID)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])
    assert history.loss[-1] < history.loss[0], "no_grad around the call does not stop it"
    assert not any(module.training for module in network.modules())
    assert all(p.is_contiguous() for p in network.parameters())


def test_the_callers_chance_does_not_enter():
    torch.manual_seed(1)
    first, _ = trained()
    torch.manual_seed(2)
    second, _ = trained()
    assert same(first, second)


# Checkpoints.


@pytest.fixture(scope="module")
def uninterrupted():
    return trained(valid=VALID)


@pytest.mark.parametrize("step", [0, 3, 6, 11, 12, 23])  # six steps make an epoch
def test_a_stopped_training_goes_on_to_the_same_bits(step, tmp_path, uninterrupted):
    path = tmp_path / "run.pt"
    network = Tiny()
    hook = stopping(network, step)
    with pytest.raises(KeyboardInterrupt, match=f"epoch {step // 6 + 1} of 4; with a check"):
        trained(network, valid=VALID, checkpoint=path)
    hook.remove()
    assert not network.training
    assert os.listdir(tmp_path) == ["run.pt"]
    # A fresh network with other first weights, and the one that was stopped: both go on.
    kept = path.read_bytes()
    for going_on in (Tiny(seed=9), network):
        path.write_bytes(kept)
        torch.manual_seed(step)
        _, history = trained(going_on, valid=VALID, checkpoint=path)
        assert same(going_on, uninterrupted[0])
        assert numbers(history) == numbers(uninterrupted[1])


def test_a_training_with_adamw_goes_on_to_the_same_bits_too(tmp_path):
    recipe = dataclasses.replace(RECIPE, optimizer="adamw", rate=0.01)
    network = Tiny()
    stopping(network, 15)
    with pytest.raises(KeyboardInterrupt):
        trained(network, recipe, checkpoint=tmp_path / "run.pt")
    gone_on, _ = trained(Tiny(seed=9), recipe, checkpoint=tmp_path / "run.pt")
    assert same(gone_on, trained(recipe=recipe)[0])


def test_stopped_twice_and_by_any_error(tmp_path, uninterrupted):
    path = tmp_path / "run.pt"
    for step, error in ((8, RuntimeError), (9, MemoryError)):
        network = Tiny()
        stopping(network, step, error)
        with pytest.raises(error):
            trained(network, valid=VALID, checkpoint=path)
    network, history = trained(valid=VALID, checkpoint=path)
    assert same(network, uninterrupted[0])
    assert numbers(history) == numbers(uninterrupted[1])


def test_the_bits_would_show_a_lost_state(tmp_path, uninterrupted):
    """What a resume could forget, forgotten on purpose: each one changes the end."""
    path = tmp_path / "run.pt"
    network = Tiny()
    stopping(network, 12)
    with pytest.raises(KeyboardInterrupt):
        trained(network, valid=VALID, checkpoint=path)
    for name in ("optimizer", "schedule", "running_mean", "history"):
        content = torch.load(path, weights_only=True)
        if name == "optimizer":
            content["optimizer"]["state"] = {}
        elif name == "schedule":
            content["schedule"]["last_epoch"] = 0
        elif name == "history":
            content["history"] = {key: value[:1] for key, value in content["history"].items()}
        else:
            content["network"]["trunk.1.running_mean"].zero_()
        damaged = tmp_path / f"{name}.pt"
        torch.save(content, damaged)
        network, _ = trained(valid=VALID, checkpoint=damaged)
        assert not same(network, uninterrupted[0]), name


def test_a_finished_checkpoint_returns_at_once(tmp_path, uninterrupted):
    path = tmp_path / "run.pt"
    trained(valid=VALID, checkpoint=path)
    before = path.read_bytes()
    network = Tiny(seed=9)
    stopping(network, 0)
    _, history = trained(network, valid=VALID, checkpoint=path)
    assert same(network, uninterrupted[0])
    assert numbers(history) == numbers(uninterrupted[1])
    assert not network.training
    assert path.read_bytes() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run.pt"
    trained(checkpoint=path)
    return path.read_bytes()


def flipped(content):
    """The lowest bit of a weight's first byte turned over."""
    weight = torch.load(io.BytesIO(content), weights_only=True)["network"]["trunk.3.weight"]
    at = content.index(weight.permute(0, 2, 3, 1).numpy().tobytes())  # stored channels last
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    torch.load(io.BytesIO(changed), weights_only=True)  # torch notices nothing
    return changed


def pickled(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


DAMAGED = {
    "truncated": lambda content: content[: len(content) // 2],
    "last byte lost": lambda content: content[:-1],
    "empty": lambda content: b"",
    "text": lambda content: b"these are notes, keep them",
    "a bit of a weight": flipped,
    "another program's weights": lambda content: pickled({"weight": torch.zeros(3)}),
    "a tensor": lambda content: pickled(torch.zeros(3)),
    "a whole network": lambda content: pickled(Tiny()),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_what_is_no_checkpoint_is_refused_and_kept(damage, finished, tmp_path):
    path = tmp_path / "run.pt"
    content = DAMAGED[damage](finished)
    path.write_bytes(content)
    network = Tiny()
    with pytest.raises(ValueError, match=r"run.pt is no checkpoint of fit, or damaged.*left as it"):
        trained(network, checkpoint=path)
    assert path.read_bytes() == content
    assert same(network, Tiny()), "and no part of it got into the network"
    assert os.listdir(tmp_path) == ["run.pt"]


def other_images():
    images = IMAGES.clone()
    images[7, 1, 3, 4] += 1
    return images


def other_labels():
    labels = LABELS.clone()
    labels[[0, 1]] = (labels[[0, 1]] + 1) % 4
    return labels


def frozen():
    network = Tiny()
    network.trunk.requires_grad_(False)
    return network


def transformed():
    network = Tiny()
    network.transform = SimpleNamespace(mean=(0.4,) * 3, std=(0.5,) * 3)
    return network


FOREIGN = {
    "recipe": (
        {"recipe": dataclasses.replace(RECIPE, rate=0.2, seed=5)},
        r"recipe \(rate=0.1, seed=0\)",
    ),
    "optimizer": (
        {"recipe": dataclasses.replace(RECIPE, optimizer="adamw")},
        r"recipe \(optimizer='sgd'\)",
    ),
    "classes": ({"network": Tiny(classes=5)}, "network"),
    "pool": ({"network": Tiny(pool="max")}, "network"),  # every shape is the same
    "dropout": ({"network": Tiny(dropout=0.5)}, "network"),
    "frozen": ({"network": frozen()}, "network"),
    "transform": ({"network": transformed()}, "network"),
    "pixel": ({"images": other_images()}, "images and labels"),  # as a knob of the lab would
    "labels": ({"labels": other_labels()}, "images and labels"),
    "valid": ({"valid": VALID}, "validation images and labels"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_checkpoint_of_another_training_is_refused_and_kept(case, finished, tmp_path):
    path = tmp_path / "run.pt"
    path.write_bytes(finished)
    changed, what = FOREIGN[case]
    call = {"network": Tiny(), "images": IMAGES, "labels": LABELS, "recipe": RECIPE} | changed
    weights = {name: tensor.clone() for name, tensor in call["network"].state_dict().items()}
    with pytest.raises(ValueError, match=rf"run.pt is of another {what}\. It is left as it is"):
        fit(**call, checkpoint=path, progress=False)
    assert path.read_bytes() == finished
    assert all(torch.equal(weights[name], t) for name, t in call["network"].state_dict().items())


@pytest.mark.parametrize("at", ["save", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_checkpoint(at, tmp_path, monkeypatch, uninterrupted):
    path = tmp_path / "run.pt"
    network = Tiny()
    stopping(network, 12)
    with pytest.raises(KeyboardInterrupt):
        trained(network, valid=VALID, checkpoint=path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        if at == "save":
            args[1].write(b"half a fi")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        owner, name = {
            "save": (torch, "save"),
            "fsync": (os, "fsync"),
            "replace": (training.Path, "replace"),
        }[at]
        patch.setattr(owner, name, full)
        with pytest.raises(OSError, match=r"cannot write the checkpoint .*run.pt: No space left"):
            trained(valid=VALID, checkpoint=path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.pt"]
    network, _ = trained(valid=VALID, checkpoint=path)
    assert same(network, uninterrupted[0])


def test_a_folder_that_is_not_there_is_noticed_before_training(tmp_path):
    network = Tiny()
    with pytest.raises(OSError, match=r"cannot write the checkpoint .*gone.*No such file"):
        trained(network, checkpoint=tmp_path / "gone" / "run.pt")
    assert same(network, Tiny())


def test_a_checkpoint_has_the_mode_of_any_new_file_and_links_stay(tmp_path):
    real, link, plain_file = (tmp_path / name for name in ("real.pt", "link.pt", "plain"))
    link.symlink_to(real)
    plain_file.touch()
    trained(checkpoint=str(link))
    assert link.is_symlink()
    assert real.is_file()
    assert stat.S_IMODE(real.stat().st_mode) == stat.S_IMODE(plain_file.stat().st_mode)


# What cannot work is refused.


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(tmp_path):
    path = tmp_path / "run.pt"
    network = Tiny()
    steps = 0

    def spoil(module, inputs, output):
        nonlocal steps
        if module.training:
            steps += 1
            return output * math.nan if steps == 9 else output
        return output

    network.register_forward_hook(spoil)
    with pytest.raises(FloatingPointError) as caught:
        trained(network, checkpoint=path)
    rate = 0.1 * schedule_by_hand(RECIPE, 8, 24)
    assert f"the loss is nan at step 8, at a learning rate of {rate:.3g}" in str(caught.value)
    assert "a third of the rate" in str(caught.value)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())
    assert len(torch.load(path, weights_only=True)["history"]["loss"]) == 1


def test_weights_that_overflow_in_an_epochs_last_step_enter_no_checkpoint(tmp_path):
    path = tmp_path / "run.pt"
    recipe = Recipe(epochs=1, rate=1e38, batch=200, shift=2, weight_decay=1e10)
    with pytest.raises(FloatingPointError, match=r"fit: a weight is no longer a number at step 1"):
        trained(recipe=recipe, checkpoint=path)
    saved = torch.load(path, weights_only=True)["network"]
    assert all(tensor.isfinite().all() for tensor in saved.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"images": IMAGES / 255},
            r"got images torch.float32 \(200, 3, 10, 10\), expected .*uint8",
        ),
        ({"images": IMAGES[0]}, r"got images torch.uint8 \(3, 10, 10\)"),
        ({"images": IMAGES[:, :1]}, r"got images torch.uint8 \(200, 1, 10, 10\)"),
        ({"images": IMAGES.permute(0, 2, 3, 1)}, r"got images torch.uint8 \(200, 10, 10, 3\)"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "with at least one image"),
        ({"images": IMAGES.numpy()}, "got images ndarray"),
        ({"labels": LABELS[:150]}, r"labels torch.int64 \(150,\) beside 200 images, .*\(200,\)"),
        ({"labels": LABELS.float()}, r"labels torch.float32 \(200,\)"),
        ({"labels": LABELS[:, None]}, r"labels torch.int64 \(200, 1\)"),
        ({"labels": LABELS.tolist()}, "got labels list"),
        (
            {"labels": LABELS + 1},
            r"labels of images run from 1 to 4, but Tiny gives \(1, 4\) .* labels 0 to C - 1",
        ),
        ({"labels": LABELS - 1}, "run from -1 to 2"),
        ({"valid": (VALID[0], VALID[1] + 1)}, "labels of valid images run from 1 to 4"),
        ({"valid": (VALID[0] / 255, VALID[1])}, r"got valid images torch.float32"),
        ({"valid": VALID[0]}, r"got valid images torch.uint8 .*, expected a pair"),
        ({"valid": (*VALID, VALID[1])}, r"got valid images tuple, expected a pair"),
        ({"network": Tiny().trunk}, r"Sequential gives \(1, 8, 10, 10\) for one image"),
        (
            {"network": Tiny().requires_grad_(False)},
            "Tiny has no parameter that requires a gradient,",
        ),
        (
            {
                "network": nn.Sequential(Tiny()),
                "recipe": dataclasses.replace(RECIPE, trunk_rate=0.1),
            },
            r"Sequential has no parameter that requires a gradient in get_classifier\(\)",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_before_training(changed, message, tmp_path):
    call = {"network": Tiny(), "images": IMAGES, "labels": LABELS, "recipe": RECIPE} | changed
    with pytest.raises(ValueError, match=message):
        fit(**call, checkpoint=tmp_path / "run.pt", progress=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", (0, -1, 2.5, "3", None)),
        ("batch", (0, 1.0)),
        ("shift", (-1, 0.5)),
        ("seed", (-1, 0.5, None)),
        ("flip", (0.5, "no", None)),
        ("rate", (0, -0.1, math.nan, math.inf, "0.1", None)),
        ("momentum", (-0.1, 1.0, math.nan)),
        ("weight_decay", (-1e-4, None)),
        ("warmup", (-0.1, 1.1)),
        ("label_smoothing", (-0.1, 1.0)),
        ("clip", (0, -1, math.inf)),
        ("trunk_rate", (0, -1)),
        ("optimizer", ("adam", "SGD", None)),
    ],
)
def test_a_recipe_refuses_values_that_cannot_be_used(name, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"Recipe: {name} is .*, expected"):
            Recipe(**({"epochs": 1, "rate": 0.1} | {name: value}))


def test_a_recipe_takes_the_ends_of_its_ranges():
    Recipe(1, 5, 1, 0, 0, 0, 0, 0, False, None, 1, 0, "adamw")
    Recipe(1, 1e-9, momentum=0.999, warmup=1, label_smoothing=0.99, clip=1e-3, trunk_rate=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPE.rate = 1.0


def test_the_optimizer_is_part_of_a_recipe():
    assert dataclasses.asdict(Recipe(1, 0.1))["optimizer"] == "sgd"
    other = Recipe(1, 0.1, optimizer="adamw")
    assert Recipe(**dataclasses.asdict(other)) == other != Recipe(1, 0.1)


def test_predict_refuses_images_that_are_normalised_already():
    with pytest.raises(ValueError, match=r"predict: got images torch.float32"):
        predict(Tiny(), IMAGES / 127.5 - 1)


def test_the_bar_tells_epoch_loss_and_accuracy(capsys):
    fit(Tiny(), IMAGES, LABELS, RECIPE)
    shown = capsys.readouterr().err
    assert "epoch 4/4" in shown
    assert "24/24" in shown
    assert "loss=" in shown
    assert "accuracy=" in shown
    trained()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("batch", [200, 50])
def test_loss_and_accuracy_are_those_of_the_images_as_seen(batch):
    """The reported mean over an epoch, from what went into the network and came out."""
    recipe = Recipe(epochs=1, rate=0.1, batch=batch, shift=1, label_smoothing=0.1)
    kept = []
    network = Tiny(dropout=0.0)
    network.register_forward_hook(
        lambda module, args, out: kept.append((args[0], out)) if module.training else None
    )
    _, history = trained(network, recipe)
    inputs, logits = (torch.cat(parts) for parts in zip(*kept, strict=True))
    assert len(inputs) == 200
    # Which image is which is told by its raised channel.
    bright = inputs.mean(dim=(2, 3))
    labels = torch.where(bright.amax(dim=1) > -0.4, bright.argmax(dim=1), 3)
    assert torch.equal(labels.bincount(), LABELS.bincount())
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert history.loss == [pytest.approx(expected.item(), rel=1e-5)]
    assert history.accuracy == [pytest.approx((logits.argmax(dim=1) == labels).float().mean())]
