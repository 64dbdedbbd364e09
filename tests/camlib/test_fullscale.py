"""camlib.fullscale against steps written by hand, interruptions, damaged files, two processes."""

import csv
import dataclasses
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata

import pytest
import torch
from fullscale_world import RECIPE, Tiny, close, same, trained, write_folder
from torch.nn import functional
from torchvision import tv_tensors

from camlib import cli, fullscale_cli, fullscale_evaluation
from camlib.datasets import Folder
from camlib.fullscale import RECIPES, Recipe, Run
from camlib.fullscale_card import versions
from camlib.fullscale_checkpoints import (
    checkpoints,
    last_checkpoint,
    load_checkpoint,
    open_network,
)
from camlib.fullscale_data import EvaluationViews, Parts, Spread, TrainingViews, open_dataset
from camlib.networks import Transform


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="module")
def data(root):
    return Folder(root, root.with_suffix(".csv"))


# ---- the recipe ----


def test_the_authors_solver_on_ilsvrc():
    recipe, images = RECIPES["authors"], 1_281_167
    assert recipe.total_steps(images) == 160_000
    for step, rate in (
        (0, 1e-3),
        (39_999, 1e-3),
        (40_000, 1e-4),
        (79_999, 1e-4),
        (80_000, 1e-5),
        (120_000, 1e-6),
        (159_999, 1e-6),
    ):
        assert recipe.rate * recipe.share_of_rate(step, 160_000) == pytest.approx(rate)
    solver = (recipe.batch, recipe.momentum, recipe.weight_decay, recipe.trunk_rate)
    assert solver == (64, 0.9, 5e-4, 1.0)
    assert recipe.optimizer == "sgd"
    assert not recipe.nesterov
    # Birds: 93 steps an epoch, divided at the quarters all the same.
    assert recipe.total_steps(5994) == 8 * 93
    assert recipe.share_of_rate(186, 744) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"area": 0.0}, "area is 0.0"),
        ({"area": 0.5, "shift": 4}, "shift is 4, expected 0 where area"),
        ({"steps": 0}, "steps is 0"),
        ({"tenth_every": 2.0}, "tenth_every is 2.0"),
        ({"nesterov": 1}, "nesterov is 1"),
        ({"rate": -1.0}, "rate is -1.0"),
    ],
)
def test_recipes_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**{"epochs": 1, "rate": 0.1, **wrong})


def test_runs_that_cannot_be():
    for wrong in ({"keep": 0}, {"accumulate": 0}, {"precision": "16"}, {"device": "tpu"}):
        with pytest.raises(ValueError, match=f"Run: {next(iter(wrong))} is"):
            Run(folder="x", **wrong)


def test_options_are_the_fields():
    def names(options):
        return {name.replace("-", "_") for name in options}

    fields = {f.name for f in dataclasses.fields(Recipe)}
    assert names(fullscale_cli.RECIPE) | names(fullscale_cli.SWITCHES) == fields
    others = {"folder", "resume", "progress", "command", "dataset"}
    assert names(fullscale_cli.RUN) == {f.name for f in dataclasses.fields(Run)} - others
    others = {"threshold", "maps", "max_box_acc_v2", "progress"}
    fields = {f.name for f in dataclasses.fields(fullscale_evaluation.Evaluation)}
    assert names(fullscale_cli.MAPS) == fields - others


# ---- views and order ----


def test_parts_are_the_batch_whatever_the_number_of_processes():
    def batches(parts, mine, first=0):
        return list(Parts(22, 8, 5, parts, mine, range(first, 6)))

    whole = batches(1, range(1))
    halves = [batches(2, [0]), batches(2, [1])]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    assert list(itertools.chain(*batches(2, range(2)))) == list(itertools.chain(*whole))
    assert batches(1, range(1), first=3) == whole[3:]  # gone on with, inside epoch 2 and later
    assert [epoch for (epoch, _), *_ in whole] == [0, 0, 1, 1, 2, 2]
    for epoch in range(3):
        seen = [i for one in whole[2 * epoch : 2 * epoch + 2] for _, i in one]
        assert len(set(seen)) == 16
    assert whole[0] != [(0, i) for _, i in whole[2]]  # another order in the next epoch


def test_a_view_depends_on_its_place_alone(data):
    recipe = Recipe(epochs=1, rate=1.0, area=0.3)
    views = TrainingViews(data, Transform(32, 1.0), recipe, 32)
    first, label = views[0, 5]
    torch.manual_seed(9)
    views[1, 3]
    assert torch.equal(views[0, 5][0], first)
    assert not torch.equal(views[1, 5][0], first)
    assert first.shape == (3, 32, 32)
    assert first.dtype == torch.uint8
    assert label == data[5][1]["label"]


def test_a_view_without_chance_is_the_cut_of_the_network(data):
    transform = Transform(32, 0.875)
    recipe = Recipe(epochs=1, rate=1.0, flip=False)
    view, _ = TrainingViews(data, transform, recipe, 32)[0, 0]
    centre = EvaluationViews(data, transform, "centre")[0]
    assert torch.equal(view, centre.image)
    moved = TrainingViews(data, transform, dataclasses.replace(recipe, shift=2), 32)
    views = [moved[epoch, 0][0] for epoch in range(30)]
    assert any(torch.equal(v, view) for v in views)  # one of 25 places
    assert len({v.numpy().tobytes() for v in views}) > 10


class Wide:
    """One image of 80 x 40 with a bright box."""

    classes, names = ("a",), ["a/1.jpg"]

    def __len__(self):
        return 1

    def __getitem__(self, i):
        image = torch.zeros(3, 40, 80, dtype=torch.uint8)
        image[:, 10:30, 20:60] = 255
        mask = image[:1] > 0
        border = torch.zeros_like(mask)
        border[:, 10:12] = True
        boxes = torch.tensor([[20.0, 10.0, 60.0, 30.0], [0.0, 0.0, 5.0, 5.0]])
        labels = torch.tensor([0, 1])
        masks = torch.cat([mask, ~mask])
        return image, {
            "label": 0,
            "labels": labels,
            "boxes": boxes,
            "masks": masks,
            "border": border,
            "name": self.names[0],
        }


def test_truth_follows_the_view():
    whole = EvaluationViews(Wide(), Transform(20, 1.0), "whole")[0]
    assert whole.boxes.tolist() == [[5.0, 5.0, 15.0, 15.0]]  # of its own class alone
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[5:15, 5:15] = True
    assert torch.equal(whole.mask, expected)
    assert whole.ignored[5].all()
    assert whole.ignored.sum() == 20
    assert ((whole.image[0] > 127) == expected).all()

    transform = Transform(20, 0.5)
    centre = EvaluationViews(Wide(), transform, "centre")[0]  # 80 x 40, cut 20 x 20 from the middle
    assert centre.boxes.tolist() == [[-10.0, 0.0, 30.0, 20.0]]  # reaches beyond the cut
    back = transform.box_in_photo(centre.boxes[0], (80, 40))
    assert back.tolist() == [20.0, 10.0, 60.0, 30.0]
    assert centre.mask.all()


@pytest.mark.parametrize(("size", "crop"), [(240, 0.875), (224, 0.875), (384, 0.95)])
def test_a_cut_is_that_of_torchvision_whatever_the_photo(size, crop):
    transform = Transform(size, crop)
    geometry = transform.geometry()
    for width, height in ((531, 700), (1062, 531), (500, 375), (333, 500), (469, 1033)):
        middle = [width / 2 - 9, height / 2 - 9, width / 2 + 13, height / 2 + 11]
        box = tv_tensors.BoundingBoxes([middle], format="XYXY", canvas_size=(height, width))
        target = {"label": 0, "labels": torch.tensor([0]), "boxes": box, "name": "a"}
        data = [(torch.zeros(3, height, width, dtype=torch.uint8), target)]
        view = EvaluationViews(data, transform, "centre")[0]
        theirs = geometry(box).as_subclass(torch.Tensor)
        assert torch.allclose(view.boxes, theirs.double(), atol=1e-3), (width, height)


def test_a_limit_is_spread_over_all_classes(root):
    few = open_dataset("folder", root, limit=4)
    assert [few[i][1]["label"] for i in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="the limit is 25, expected from 1 to 24"):
        Spread(few.data, 25)


# ---- the loop ----


def by_hand(data, recipe, steps):
    """Plain steps with the whole batch at once."""
    network = Tiny().train()
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.rate, recipe.momentum, 0, recipe.weight_decay, True
    )
    views = TrainingViews(data, network.transform, recipe, 32)
    total = recipe.total_steps(len(data))
    losses = []
    order = Parts(len(data), recipe.batch, recipe.seed, 1, [0], range(steps))
    for step, batch in enumerate(order):
        images, labels = zip(*(views[place] for place in batch), strict=True)
        inputs = torch.stack(images) / 127.5 - 1
        optimizer.param_groups[0]["lr"] = recipe.rate * recipe.share_of_rate(step, total)
        loss = functional.cross_entropy(network(inputs), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, losses


def test_steps_are_those_by_hand_with_any_number_of_parts(data, tmp_path):
    expected, losses = by_hand(data, RECIPE, 6)
    for accumulate in (1, 2, 4):
        folder = tmp_path / str(accumulate)
        network, history = trained(folder, data, accumulate=accumulate)
        assert close(network, expected)
        with (folder / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [int(row["epoch"]) for row in rows] == [1, 1, 1, 2, 2, 2]
        assert [float(row["loss"]) for row in rows] == pytest.approx(losses, rel=1e-4)
        assert history.loss == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-4)
    untrained = Tiny()
    assert not close(untrained, expected)  # the comparison can fail


def test_the_plain_momentum_is_another(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, nesterov=False)
    assert not close(trained(tmp_path, data, recipe)[0], by_hand(data, RECIPE, 6)[0])


def test_the_card_says_what_was_done(data, tmp_path):
    network, history = trained(tmp_path, data, valid=data, command="camlib train ...")
    card = json.loads((tmp_path / "run.json").read_text())
    assert card["recipe"] == dataclasses.asdict(RECIPE)
    assert card["data"]["images"] == 24
    assert card["data"]["classes"] == 4
    assert card["steps"] == 6
    assert card["versions"]["torch"] == metadata.version("torch")
    views = EvaluationViews(data, network.transform, "centre")
    inputs = torch.stack([views[i].image for i in range(24)]) / 127.5 - 1
    labels = torch.tensor([views[i].label for i in range(24)])
    right = (network(inputs).argmax(dim=1) == labels).double().mean().item()
    assert card["metrics"]["valid_accuracy"] == history.valid_accuracy[-1] == right
    text = (tmp_path / "run.md").read_text()
    assert "camlib train ..." in text
    assert "24 images, 4 classes" in text
    assert "batch 8" in text
    assert "nesterov" not in text  # as by default


def test_a_network_trains_on_at_the_size_it_was_trained_at(data, tmp_path):
    network = Tiny()
    network.input_size = 24  # as `open_network` says of a checkpoint
    trained(tmp_path, data, network=network)
    assert json.loads((tmp_path / "run.json").read_text())["network"]["input_size"] == 24


def test_workers_change_nothing_and_bfloat16_little(data, tmp_path):
    plain, _ = trained(tmp_path / "0", data)
    workers, _ = trained(tmp_path / "2", data, workers=2)
    assert same(plain, workers)
    half, _ = trained(tmp_path / "half", data, precision="bf16-mixed")
    assert not same(plain, half)
    assert half.head.weight.dtype == torch.float32
    assert torch.allclose(plain.head.weight, half.head.weight, atol=0.02)


def test_a_trunk_at_rest_and_a_head_that_learns(data, tmp_path):
    network = Tiny()
    network.trunk.requires_grad_(False)
    recipe = dataclasses.replace(RECIPE, trunk_rate=0.5, clip=1.0, optimizer="adamw", rate=1e-3)
    trained(tmp_path, data, recipe, network)
    assert torch.equal(network.trunk[0].weight, Tiny().trunk[0].weight)
    assert not torch.equal(network.head.weight, Tiny().head.weight)
    free, _ = trained(tmp_path / "free", data, recipe)
    assert not torch.equal(free.trunk[0].weight, Tiny().trunk[0].weight)


@pytest.mark.parametrize("network", [Tiny(), Tiny(norm=True, dropout=0.3)], ids=["plain", "chance"])
def test_the_caller_keeps_its_chance(network, data, tmp_path):
    torch.manual_seed(4)
    trained(tmp_path, data, network=network)
    drawn = torch.rand(3)
    torch.manual_seed(4)
    assert torch.equal(torch.rand(3), drawn)
    assert not network.training


# ---- stopped and gone on with ----


def kept(folder):
    return [path.name for path in checkpoints(folder)]


def test_only_the_last_checkpoints_stay(data, tmp_path):
    trained(tmp_path, data, dataclasses.replace(RECIPE, epochs=4), minutes=1e-9, keep=2)
    assert kept(tmp_path) == ["step-00000012.ckpt", "step-00000011.ckpt"]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["checkpoints", "log.csv", "run.json", "run.md"]


def test_a_damaged_checkpoint_is_passed_by_and_the_end_is_the_same(data, tmp_path, capsys):
    def start():
        return Tiny(norm=True, dropout=0.3)

    whole, history = trained(tmp_path / "a", data, network=start(), valid=data)
    trained(tmp_path / "b", data, network=start(), valid=data, minutes=1e-9, keep=9)
    log = (tmp_path / "b" / "log.csv").read_text()
    places = {path.name: path for path in checkpoints(tmp_path / "b")}
    for number in (6, 5):
        places.pop(f"step-{number:08d}.ckpt").unlink()
    last = places["step-00000004.ckpt"]
    last.write_bytes(last.read_bytes()[:-500])  # as by a full disk
    last.with_name("step-00000005.ckpt.part").write_bytes(b"half")
    resumed, again = trained(tmp_path / "b", data, network=start(), valid=data, resume=True)
    assert "step-00000004.ckpt is damaged" in capsys.readouterr().err
    assert same(whole, resumed)
    assert again.loss == pytest.approx(history.loss)
    assert again.valid_accuracy == history.valid_accuracy
    columns = [row.rsplit(",", 1)[0] for row in log.splitlines()]  # without the speed
    now = (tmp_path / "b" / "log.csv").read_text().splitlines()
    assert [row.rsplit(",", 1)[0] for row in now] == columns

    for path in checkpoints(tmp_path / "b"):
        path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"all \d checkpoints in .* are damaged"):
        trained(tmp_path / "b", data, network=start(), resume=True)


def test_a_damaged_checkpoint_costs_no_whole_one(data, tmp_path):
    trained(tmp_path, data, minutes=1e-9, keep=9)
    six, five, four, *_ = checkpoints(tmp_path)
    for path in (six, five):
        path.write_bytes(path.read_bytes()[:-500])
    steps = []

    loss = functional.cross_entropy

    def stopped(*given, **options):
        steps.append(kept(tmp_path))
        if len(steps) == 2:  # step 5 has been written again
            raise KeyboardInterrupt
        return loss(*given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("camlib.fullscale.functional.cross_entropy", stopped)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path, data, resume=True, minutes=1e-9, keep=1)
    assert last_checkpoint(tmp_path) == five
    assert not four.exists()
    trained(tmp_path, data, resume=True, keep=1)
    assert kept(tmp_path) == [six.name]


def test_other_files_are_no_checkpoints(data, tmp_path):
    trained(tmp_path, data)
    last = checkpoints(tmp_path)[0]
    last.with_name("step-best.ckpt").write_bytes(b"")
    last.with_name("step-00000006 (copy).ckpt").write_bytes(b"")
    assert checkpoints(tmp_path)[0] == last


def test_one_byte_changed_is_noticed(data, tmp_path):
    trained(tmp_path, data)
    path = checkpoints(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert last_checkpoint(tmp_path) == checkpoints(tmp_path)[1]
    for read in (load_checkpoint, open_network):  # the file by its name
        with pytest.raises(ValueError, match=r"step-00000006\.ckpt is no checkpoint .* damaged"):
            read(path)


def test_a_finished_training_is_over_at_once(data, tmp_path):
    network, history = trained(tmp_path, data)
    again, same_history = trained(tmp_path, data, resume=True, network=Tiny(seed=8))
    assert same(network, again)
    assert same_history == history


def arguments(root, folder, *more):
    command = f"train alexnet-gap folder {root} --output {folder} --scale lab --no-pretrained"
    options = "--epochs 5 --batch 8 --rate 0.01 --area 1 --shift 4 --workers 0 --device cpu"
    return [*command.split(), *options.split(), "--minutes", "1e-9", "--log-every", "1", *more]


def test_killed_in_the_middle_and_resumed_ends_with_the_same_weights(root, tmp_path, capsys):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "camlib", *arguments(root, folder)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(6000):
            steps = [int(path.stem[-8:]) for path in checkpoints(folder)]
            if max(steps, default=0) >= 4:  # in the second of five epochs
                break
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert 4 <= max(int(path.stem[-8:]) for path in checkpoints(folder)) < 15
    assert cli.main(arguments(root, folder, "--resume")) == 0
    assert cli.main(arguments(root, tmp_path / "whole")) == 0
    killed, whole = (
        load_checkpoint(checkpoints(place)[0]) for place in (folder, tmp_path / "whole")
    )
    assert killed["step"] == whole["step"] == 15
    for name, tensor in whole["weights"].items():
        assert torch.equal(killed["weights"][name], tensor), name
    assert killed["history"]["loss"] == pytest.approx(whole["history"]["loss"])
    assert "run.md" in capsys.readouterr().out
    # and the run opens as a network
    network = open_network(folder)
    assert list(network.classes) == list(Folder(root).classes)


def test_nan_stops_with_code_3(root, tmp_path, capsys):
    folder = tmp_path / "nan"
    assert cli.main(arguments(root, folder, "--rate", "1e30", "--warmup", "0")) == 3
    said = capsys.readouterr().err
    assert "no longer a finite number, first at step" in said
    assert re.search(r"at a learning rate of [\d.]+e\+(29|30)\.", said)
    assert "a third of the rate" in said
    last = checkpoints(folder)[0]
    assert f"last good checkpoint is {last}" in said
    assert all(t.isfinite().all() for t in load_checkpoint(last)["weights"].values())


def test_weights_that_overflow_in_the_last_step_are_not_kept(data, tmp_path):
    recipe = dataclasses.replace(RECIPE, rate=1e38, weight_decay=1e6, warmup=0.0, steps=1)
    with pytest.raises(FloatingPointError, match="a weight is no longer a finite number, first at"):
        trained(tmp_path, data, recipe)
    assert kept(tmp_path) == ["step-00000000.ckpt"]
    assert not (tmp_path / "run.json").exists()


def test_ctrl_c_says_how_to_go_on(root, tmp_path, capsys, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("camlib.fullscale.functional.cross_entropy", stopped)
    assert cli.main(arguments(root, tmp_path / "stopped")) == 130
    assert "with --resume the same command goes on" in capsys.readouterr().out
    assert kept(tmp_path / "stopped") == ["step-00000000.ckpt"]


# ---- refused ----


def test_a_folder_that_is_not_empty_and_another_training(data, tmp_path):
    trained(tmp_path, data)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path)}
    with pytest.raises(ValueError, match=r"is not empty: resume .*--resume"):
        trained(tmp_path, data)
    other = dataclasses.replace(RECIPE, rate=0.1)
    with pytest.raises(
        ValueError, match=r"cannot be resumed: recipe: rate is 0\.1 and was 0\.05\."
    ):
        trained(tmp_path, data, other, resume=True)
    with pytest.raises(ValueError, match="network: layers is"):
        trained(tmp_path, data, network=Tiny(norm=True), resume=True)
    with pytest.raises(ValueError, match="data set: images is 8 and was 24"):
        trained(tmp_path, Spread(data, 8), resume=True)
    with pytest.raises(ValueError, match="input: precision is 'bf16-mixed' and was '32-true'"):
        trained(tmp_path, data, resume=True, precision="bf16-mixed")
    assert {path: path.read_bytes() for path in checkpoints(tmp_path)} == before


@pytest.mark.parametrize(
    ("network", "allowed"),
    [({}, True), ({"dropout": 0.3}, False), ({"norm": True}, False)],
    ids=["plain", "dropout", "norm"],
)
def test_other_parts_on_resume_only_where_they_change_nothing(network, allowed, data, tmp_path):
    recipe = dataclasses.replace(RECIPE, steps=4)
    trained(tmp_path, data, recipe, Tiny(**network), accumulate=2, minutes=1e-9)
    checkpoints(tmp_path)[0].unlink()
    if allowed:
        resumed, _ = trained(tmp_path, data, recipe, Tiny(**network), resume=True)
        assert close(resumed, trained(tmp_path / "whole", data, recipe)[0])
    else:
        with pytest.raises(ValueError, match="as many processes as before"):
            trained(tmp_path, data, recipe, Tiny(**network), resume=True)


def test_what_does_not_fit_together(data, tmp_path):
    with pytest.raises(ValueError, match="batch of 8 cannot be cut into 3 equal parts"):
        trained(tmp_path, data, accumulate=3)
    with pytest.raises(ValueError, match="the batch is 32, but there are 24 images"):
        trained(tmp_path, data, dataclasses.replace(RECIPE, batch=32))
    network = Tiny()
    network.head = torch.nn.Linear(8, 5)
    with pytest.raises(ValueError, match="gives scores for 5 classes, but the data set has 4"):
        trained(tmp_path, data, network=network)
    network = Tiny()
    network.classes = tuple(reversed(data.classes))
    with pytest.raises(ValueError, match="in another order: its class 0"):
        trained(tmp_path, data, network=network)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        trained(tmp_path / "file", data)


def fails(capsys, *command):
    assert cli.main([*command]) == 2
    said = capsys.readouterr().err
    assert said.startswith("camlib: ")
    assert said.count("\n") == 1
    return said


def test_what_goes_wrong_is_said_in_one_line(root, tmp_path, capsys, monkeypatch):
    place = ("--output", str(tmp_path / "run"))
    folder = ("folder", str(root), *place)
    assert 'did you mean "alexnet-gap"' in fails(capsys, "train", "alexnt-gap", *folder)
    assert "no data set 'pet'" in fails(capsys, "train", "nin", "pet", str(root), *place)
    assert "give its root" in fails(capsys, "train", "nin", "cub", *place)
    assert "no recipe 'author'" in fails(capsys, "train", "nin", *folder, "--recipe", "author")
    assert "no checkpoint gone.ckpt" in fails(capsys, "train", "gone.ckpt", *folder)
    lab = ("train", "alexnet-gap", *folder, "--scale", "lab", "--no-pretrained")
    assert "torch finds no GPU" in fails(capsys, *lab, "--device", "cuda")
    assert "has no split 'train'" in fails(capsys, *lab, "--split", "train")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    wrong = str(tmp_path / "text.ckpt")
    assert "is no checkpoint of camlib train" in fails(capsys, "evaluate", wrong, "lab")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    assert 'pip install "camlib[fullscale]"' in fails(capsys, *lab)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_cannot_be_read_is_named_in_one_line(workers, root, tmp_path, capsys):
    broken = tmp_path / "pictures"
    shutil.copytree(root, broken)
    image = sorted(broken.rglob("*.png"))[9]
    image.write_bytes(image.read_bytes()[:200])
    lab = ("alexnet-gap", "folder", str(broken), "--scale", "lab", "--device", "cpu")
    assert cli.main(["evaluate", *lab, "--no-pretrained", "--workers", workers]) == 2
    said = capsys.readouterr().err.splitlines()[-1]  # above it is the bar
    assert said.startswith(f"camlib: {image} cannot be read, it may be truncated")
    assert "Traceback" not in said
    gone = ("--output", str(tmp_path))
    assert "is a folder, expected a file" in fails(capsys, "evaluate", *lab, *gone)


def test_versions_without_an_installed_camlib(monkeypatch):
    def version(name):
        if name == "camlib":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("camlib.fullscale_card.metadata.version", version)
    assert versions() | {"python": ""} == {
        "python": "",
        "camlib": "not installed",
        **dict.fromkeys(("torch", "torchvision", "timm", "lightning-fabric", "numpy"), "1"),
    }


def test_batch_norm_wants_as_many_processes_as_before(data, tmp_path):
    trained(tmp_path, data, network=Tiny(norm=True), accumulate=2, minutes=1e-9)
    path = checkpoints(tmp_path)[0]
    torch.save({**load_checkpoint(path), "processes": 2, "accumulate": 1}, path)
    with pytest.raises(
        ValueError, match=r"by 2 processes .* this is 1 with 2, .* batch norm keeps"
    ):
        trained(tmp_path, data, network=Tiny(norm=True), accumulate=2, resume=True)
