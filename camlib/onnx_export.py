"""Networks whose class activation maps are exact, as ONNX graphs that give all maps at once.

The graph has the input `images` (N, 3, h, w), transformed as the network expects, and two outputs:

    maps   (N, C, H, W): equation 2 for every class, a 1 x 1 convolution of the last features with
                         the classifier's weight
    logits (N, C): the mean of each map, plus the classifier's bias: equation 1

So one run gives the map of whatever class is asked for later, and the score is made from the map
inside the graph. onnx and onnxscript are needed (the extra "onnx"), and onnxruntime to check.
"""

from __future__ import annotations

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from camlib import cam

PRECISIONS = ("float32", "float16", "int8")
# Fewer numbers than these stay in float32: biases, and scales.
_SMALL = 256


class _AllMaps(nn.Module):
    """A network that gives the logits and the maps of all classes."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network
        classifier = network.get_classifier()
        self.weight = self.bias = None
        if isinstance(classifier, nn.Linear):
            self.weight = nn.Parameter(classifier.weight.detach()[:, :, None, None])
            if classifier.bias is not None:
                self.bias = nn.Parameter(classifier.bias.detach())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.forward_features(images)
        if self.weight is not None:
            maps = nn.functional.conv2d(maps, self.weight)
        logits = maps.mean(dim=(2, 3))
        return (logits if self.bias is None else logits + self.bias), maps


def model(network: nn.Module, size: int | None = None, precision: str = "float32") -> Any:
    """The network as an ONNX model with the outputs `logits` and `maps`, checked against torch.

    Args:
        network: as `cam.class_activation_maps` takes it, in evaluation mode: timm's protocol,
            global average pooling and one linear layer. It stays as it is.
        size: height and width of the images; None: what the network's `transform` gives.
        precision: in which the weights are stored; the graph computes in float32.
            "float32": as they are. "float16": rounded to half precision. "int8": each output
            channel of a convolution as whole numbers from -127 to 127 times one float32.
            Whoever runs the graph turns them back once, when it is loaded. float16 keeps what
            lite0 answers; int8 changes it for one clear picture in nine (bench/live_page.py).

    Returns:
        onnx.ModelProto. The same network gives the same bytes.

    Raises:
        TypeError, ValueError: if the network has no exact maps, as `cam.class_activation_maps`
            raises it; if size or precision do not fit.
        RuntimeError: if the graph does not give what torch gives.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"onnx_export: precision is {precision!r}, expected one of {', '.join(PRECISIONS)}"
        )
    size = getattr(getattr(network, "transform", None), "size", None) if size is None else size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(
            f"onnx_export: size is {size!r}, expected the height and width of the images in pixels"
            " (needed where the network has no transform that knows it)"
        )
    if any(module.training for module in network.modules()):
        cam.expect_ready("onnx_export", network, None)  # says so
    plain = copy.deepcopy(network).float().cpu()
    # Noise, not zeros: of a picture without content, average and maximum of a map can agree.
    probe = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    try:
        cam.class_activation_maps(plain, probe)
    except (TypeError, ValueError) as error:
        reason = str(error).removeprefix("class_activation_maps: ")
        raise type(error)(f"onnx_export: {reason}") from None
    exported = _graph(_AllMaps(plain).eval(), probe)
    _check(exported, plain, probe)
    if precision != "float32":
        pack(exported, dict.fromkeys(convolution_weights(exported), precision))
    onnx.checker.check_model(exported, full_check=True)
    return exported


def export(
    network: nn.Module, path: str | Path, size: int | None = None, precision: str = "float32"
) -> None:
    """Write `model(network, size, precision)` to a file.

    Raises:
        ValueError: if the path does not end in .onnx; otherwise as `model`.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise ValueError(f"onnx_export: got the path {path}, expected a name ending in .onnx")
    path.write_bytes(model(network, size, precision).SerializeToString(deterministic=True))


def _graph(network: nn.Module, probe: Tensor) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own workings
        level = logging.getLogger("torch.onnx").level
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program: Any = torch.onnx.export(
                network,
                (probe,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["logits", "maps"],
                dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            )
        finally:
            logging.getLogger("torch.onnx").setLevel(level)
    exported = program.model_proto
    # Where in which file a node comes from differs between machines.
    for part in (exported, exported.graph, *exported.graph.node, *exported.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for part in (*exported.graph.initializer, *exported.graph.input, *exported.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    exported.ClearField("producer_version")
    return exported


@torch.no_grad()
def _check(exported: Any, network: Any, images: Tensor) -> None:
    """Compare the graph, run by onnxruntime, with torch's logits and with equation 2."""
    session = onnxruntime.InferenceSession(
        exported.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, maps = (torch.from_numpy(out) for out in session.run(None, {"images": images.numpy()}))
    expected = network.forward_head(network.forward_features(images))
    every = torch.arange(expected.shape[1]).expand(len(images), -1)
    truth = cam.class_activation_maps(network, images, every)
    pairs = {"logits": (logits, expected), "maps": (maps, truth.maps)}
    for name, (got, wanted) in pairs.items():
        error = float((got - wanted).abs().max() / wanted.abs().max())
        if not error <= 1e-4:
            raise RuntimeError(
                f"onnx_export: the graph's {name} differ from torch's by {error:.1g} of their "
                "largest value, expected less than 1e-4 (rounding): this network cannot be "
                "exported with these versions of torch, onnxscript and onnxruntime"
            )


def convolution_weights(exported: Any) -> list[str]:
    """Names of the weights of convolutions that are worth packing, in the graph's order."""
    large = {t.name for t in exported.graph.initializer if np.prod(t.dims) >= _SMALL}
    inputs = (node.input[1] for node in exported.graph.node if node.op_type == "Conv")
    return list(dict.fromkeys(name for name in inputs if name in large))


def pack(exported: Any, precisions: dict[str, str]) -> None:
    """Store the named weights in other precisions, with nodes that turn them back to float32."""
    graph = exported.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    unpack = []
    for name, precision in precisions.items():
        values = numpy_helper.to_array(weights[name])
        packed = f"{name}.{precision}"
        if precision == "float16":
            tensors = [numpy_helper.from_array(values.astype(np.float16), packed)]
            unpack.append(helper.make_node("Cast", [packed], [name], to=onnx.TensorProto.FLOAT))
        else:
            whole, steps = quantised(values)
            tensors = [
                numpy_helper.from_array(whole, packed),
                numpy_helper.from_array(steps, f"{name}.step"),
            ]
            # Not DequantizeLinear, which onnxruntime keeps, and runs each time.
            unpack += [
                helper.make_node("Cast", [packed], [f"{name}.whole"], to=onnx.TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}.whole", f"{name}.step"], [name]),
            ]
        graph.initializer.remove(weights[name])
        graph.initializer.extend(tensors)
    nodes = [*unpack, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def quantised(weight: Any) -> tuple[Any, Any]:
    """Whole numbers (K, ...) from -127 to 127 and a step (K, 1, ...) for each output channel."""
    axes = tuple(range(1, weight.ndim))
    steps = np.abs(weight).max(axis=axes, keepdims=True) / 127
    steps[steps == 0] = 1  # a channel of zeros
    return np.round(weight / steps).astype(np.int8), steps.astype(np.float32)
