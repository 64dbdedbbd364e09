"""Networks as ONNX: outputs as torch's, the identity in the graph, and wrong heads refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from onnx import numpy_helper

from camlib import cam, networks, onnx_export, photos


def run(model, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, maps = session.run(["logits", "maps"], {"images": images.numpy()})
    return torch.from_numpy(logits), torch.from_numpy(maps)


def weights(model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.fixture(scope="module")
def lite0():
    return networks.create("lite0")


@pytest.fixture(scope="module")
def coffee(lite0):
    return lite0.transform(photos.load("coffee").image)[None]


@pytest.fixture(scope="module")
def exact(lite0):
    return onnx_export.model(lite0)


@pytest.fixture(scope="module")
def small():
    return networks.create("alexnet-gap", pretrained=True, scale="lab")


def test_logits_and_all_maps_are_torchs(lite0, coffee, exact):
    logits, maps = run(exact, coffee)
    truth = cam.class_activation_maps(lite0, coffee, list(range(1000)))
    torch.testing.assert_close(logits, truth.logits, rtol=0, atol=2e-4)
    torch.testing.assert_close(maps, truth.maps, rtol=0, atol=2e-4 * float(truth.maps.abs().max()))


def test_the_logits_are_made_from_the_maps(lite0, exact):
    made = {output: node for node in exact.graph.node for output in node.output}
    add = made["logits"]
    assert add.op_type == "Add"
    mean = made[add.input[0]]
    assert (mean.op_type, mean.input[0]) == ("ReduceMean", "maps")
    bias = weights(exact)[add.input[1]]
    assert (bias == lite0.get_classifier().bias.detach().numpy()).all()


def test_several_images_at_once(small):
    images = torch.randn(3, 3, 96, 96)
    logits, maps = run(onnx_export.model(small), images)
    truth = cam.class_activation_maps(small, images, [list(range(16))] * 3)
    torch.testing.assert_close(logits, truth.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(maps, truth.maps, rtol=1e-4, atol=1e-3)


def test_half_precision_halves_the_file_and_keeps_class_and_map(lite0, coffee, exact):
    half = onnx_export.model(lite0, precision="float16")
    assert half.ByteSize() < 0.51 * exact.ByteSize()
    logits, maps = run(half, coffee)
    truth, exact_maps = run(exact, coffee)
    assert logits.argsort(descending=True)[0, :5].equal(truth.argsort(descending=True)[0, :5])
    top = int(truth.argmax())
    both = torch.stack([maps[0, top].flatten(), exact_maps[0, top].flatten()])
    assert float(both.corrcoef()[0, 1]) > 0.9999
    # Rounded weights, and nothing else: with these, torch gives the same.
    assert (logits - truth).abs().max() > 1e-4


@pytest.mark.parametrize(("precision", "kind"), [("float16", np.float16), ("int8", np.int8)])
def test_weights_are_stored_as_asked(small, precision: str, kind: type):
    exact = weights(onnx_export.model(small))
    packed = weights(onnx_export.model(small, precision=precision))
    convolutions = [name for name, values in exact.items() if values.ndim == 4]
    assert convolutions
    for name in convolutions:
        stored = packed[f"{name}.{precision}"]
        assert stored.dtype == kind
        if precision == "float16":
            assert (stored == exact[name].astype(np.float16)).all()
        else:
            step = np.abs(exact[name]).max(axis=(1, 2, 3), keepdims=True) / 127
            assert (np.abs(stored * packed[f"{name}.step"] - exact[name]) <= 0.501 * step).all()


def test_a_channel_of_zeros_stays_zero():
    whole, steps = onnx_export.quantised(np.zeros((2, 3, 1, 1), np.float32))
    assert (whole == 0).all()
    assert np.isfinite(steps).all()


def test_a_network_of_timm_and_one_without_a_linear_layer():
    torch.manual_seed(0)
    resnet = timm.create_model("resnet10t", num_classes=7).eval()
    images = torch.randn(1, 3, 64, 64)
    logits, maps = run(onnx_export.model(resnet, size=64), images)
    torch.testing.assert_close(logits, resnet(images).detach(), rtol=1e-3, atol=1e-5)
    assert maps.shape == (1, 7, 2, 2)
    nin = networks.create("nin", pretrained=True, scale="lab")
    images = torch.randn(1, 3, 96, 96)
    logits, maps = run(onnx_export.model(nin), images)
    torch.testing.assert_close(maps, nin.forward_features(images).detach(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(logits, maps.mean(dim=(2, 3)), rtol=1e-3, atol=1e-4)


def test_the_network_stays_as_it_is(small):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    onnx_export.model(small, precision="int8")
    assert not any(module.training for module in small.modules())
    assert all(value.equal(before[name]) for name, value in small.state_dict().items())
    assert all(parameter.requires_grad for parameter in small.parameters())


def test_another_process_writes_the_same_bytes(small, tmp_path: Path):
    onnx_export.export(small, tmp_path / "here.onnx", precision="float16")
    script = (
        "from camlib import networks, onnx_export; import sys; onnx_export.export(networks.create("
        "'alexnet-gap', pretrained=True, scale='lab'), sys.argv[1], precision='float16')"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "there.onnx")], check=True)
    assert (tmp_path / "here.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()
    onnx.checker.check_model(tmp_path / "here.onnx", full_check=True)


def test_nothing_of_this_machine_is_in_the_file(exact):
    content = exact.SerializeToString()
    assert str(Path(onnx_export.__file__).parent).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("vgg16", "FC layers"), ("googlenet-gmp", "misses the logit"), ("vit", "tokens")],
)
def test_a_network_without_exact_maps_is_refused(name: str, complaint: str):
    network = networks.create(name, pretrained=True, scale="lab")
    with pytest.raises(ValueError, match=rf"^onnx_export: .*{complaint}"):
        onnx_export.model(network)


def test_a_network_in_training_mode_is_refused():
    network = networks.create("alexnet-gap", scale="lab").train()
    with pytest.raises(ValueError, match=r"^onnx_export: .*training mode.*eval\(\)"):
        onnx_export.model(network)


def test_a_module_without_the_protocol_is_refused():
    with pytest.raises(TypeError, match=r"^onnx_export: .*forward_features"):
        onnx_export.model(torch.nn.Conv2d(3, 1, 1).eval(), size=8)


@pytest.mark.parametrize("size", [0, -1, 96.0, True, "96"])
def test_a_wrong_size_is_refused(small, size):
    with pytest.raises(ValueError, match="size is"):
        onnx_export.model(small, size=size)


def test_a_network_that_knows_no_size_needs_one():
    with pytest.raises(ValueError, match="size is None"):
        onnx_export.model(timm.create_model("resnet10t").eval())


def test_an_unknown_precision_is_refused(small):
    with pytest.raises(ValueError, match=r"'int4'.*float32, float16, int8"):
        onnx_export.model(small, precision="int4")


def test_a_path_with_another_ending_is_refused(small, tmp_path: Path):
    with pytest.raises(ValueError, match=r"\.onnx"):
        onnx_export.export(small, tmp_path / "network.pt")


def test_a_graph_that_differs_from_torch_is_refused(small, monkeypatch):
    right = onnx_export._graph

    def wrong(network, probe):
        network.bias = torch.nn.Parameter(network.bias.detach() + 0.1)
        return right(network, probe)

    monkeypatch.setattr(onnx_export, "_graph", wrong)
    with pytest.raises(RuntimeError, match="logits differ"):
        onnx_export.model(small)
