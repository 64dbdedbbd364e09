"""Two processes, with what torchrun sets, against one: the same weights, numbers and files."""

import contextlib
import io
import json
import shutil

import fullscale_world
import pytest
import torch
from fullscale_world import COUNT, Tiny, close, processes, trained, write_folder

from camlib.datasets import Folder
from camlib.fullscale_checkpoints import checkpoints, load_checkpoint


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="module")
def results(root, tmp_path_factory):
    """Of this process and of two others: their folders, and what each process printed."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    threads, said = torch.get_num_threads(), io.StringIO()
    with pytest.MonkeyPatch.context() as environment, contextlib.redirect_stdout(said):
        environment.setenv("WORLD_SIZE", "1")
        environment.setenv("RANK", "0")
        torch.set_num_threads(1)
        fullscale_world.main(root, folders[0])
        torch.set_num_threads(threads)
    others = processes(2, fullscale_world.__file__, str(root), str(folders[1]))
    return folders, [[said.getvalue()], others]


def read(results, name):
    return [json.loads((folder / name).read_text()) for folder in results[0]]


def test_two_processes_train_as_one(results):
    one, two = (load_checkpoint(checkpoints(folder / "run")[0]) for folder in results[0])
    networks = []
    for content in (one, two):
        networks.append(Tiny())
        networks[-1].load_state_dict(content["weights"])
    assert close(*networks)
    assert not close(networks[0], Tiny())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["history"]["loss"] == pytest.approx(one["history"]["loss"], rel=1e-5)
    for what in ("accuracy", "valid_accuracy"):
        assert two["history"][what] == one["history"][what]
    cards = read(results, "run/run.json")
    assert [card["processes"] for card in cards] == [1, 2]


def test_two_processes_end_with_the_statistics_of_the_first(results):
    folder = results[0][1]
    first, second = (torch.load(folder / f"norm {rank}.pt") for rank in (0, 1))
    written = load_checkpoint(checkpoints(folder / "norm")[0])
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        assert torch.equal(tensor, written["weights"][name]), name
    assert not torch.equal(first["trunk.1.running_mean"], torch.zeros(8))


def test_every_process_stops_where_the_loss_is_no_number(results):
    said = {path.read_text() for path in results[0][1].glob("nan ?")}
    assert len(list(results[0][1].glob("nan ?"))) == 2
    assert len(said) == 1
    assert "no longer a finite number, first at step" in said.pop()


def test_one_process_goes_on_where_two_were_stopped(results, root, tmp_path):
    shutil.copytree(results[0][1] / "run", tmp_path / "run")
    checkpoints(tmp_path / "run")[0].unlink()
    data, network = Folder(root), Tiny(dropout=0.3)
    trained(tmp_path / "run", data, network=network, valid=data, accumulate=2, resume=True)
    whole = Tiny()
    whole.load_state_dict(load_checkpoint(checkpoints(results[0][0] / "run")[0])["weights"])
    assert close(network, whole)


@pytest.mark.parametrize("name", [f"{COUNT}.json", "1.json", "command.json"])
def test_measures_are_the_same_to_the_last_image(results, name):
    one, two = (card.get("measures", card) for card in read(results, name))
    assert one.pop("seconds") > 0
    assert two.pop("seconds") > 0
    assert one == two  # to the bit, PxAP too
    assert one["images"] == (1 if name == "1.json" else COUNT)
    assert 0 < one["px_ap"] < 1
    assert one["intervals"].keys() >= {"top1", "gt_known", "px_ap"}


def test_maps_are_the_same_files(results):
    for count in (COUNT, 1):
        one, two = (
            {p.name: p.read_bytes() for p in (folder / f"maps {count}").rglob("*.npy")}
            for folder in results[0]
        )
        assert len(one) == count
        assert one == two


def test_the_first_process_speaks(results):
    (one,), (first, second) = results[1]
    assert first.splitlines()[:-2] == one.splitlines()[:-2]  # but for the speed and the file
    assert len(first.splitlines()) > 5
    assert second == ""
