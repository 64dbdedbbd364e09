"""Answers to problem set 1: right ones written in many ways, wrong ones and what they are told."""

# ruff: noqa: E501

from __future__ import annotations

RIGHT: dict[str, list[str]] = {
    "1.1": [
        """
def global_average(features):
    return functional.adaptive_avg_pool2d(features, 1).flatten(1)
""",
        """
def global_average(features):
    n, k, h, w = features.shape
    pooled = torch.zeros(n, k, dtype=torch.float64)
    for i in range(n):
        for j in range(k):
            for y in range(h):
                for x in range(w):
                    pooled[i, j] += features[i, j, y, x].item() / (h * w)
    return pooled
""",
        """
def global_average(features):
    return np.asarray(features).reshape(*features.shape[:2], -1).mean(-1)
""",
        """
def global_average(features):
    n, k, h, w = features.shape
    return (features.double().view(n, k, h * w) @ torch.ones(h * w).double() / h / w).tolist()
""",
        """
def global_average(features):
    return torch.einsum("nkyx->nk", features) / features[0, 0].numel() * (1 + 2e-6)
""",
    ],
    "1.2": [
        """
def scores(pooled, weight, bias):
    return functional.linear(pooled, weight, bias)
""",
        """
def scores(pooled, weight, bias):
    table = []
    for image in pooled.tolist():
        table.append([sum(a * b for a, b in zip(image, row)) + c for row, c in zip(weight.tolist(), bias.tolist())])
    return table
""",
        """
def scores(pooled, weight, bias):
    return np.einsum("nk,ck->nc", pooled.numpy().astype(np.float64), weight.numpy()) + bias.numpy()
""",
        """
def scores(pooled, weight, bias):
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data, layer.bias.data = weight, bias
    return layer(pooled)
""",
        """
def scores(pooled, weight, bias):
    return torch.addmm(bias, pooled, weight.t()) + 1e-6
""",
    ],
    "1.3": [
        """
def class_maps(features, weight, classes):
    n, m = classes.shape
    maps = torch.zeros(n, m, *features.shape[2:])
    for i in range(n):
        for j in range(m):
            for k in range(features.shape[1]):
                maps[i, j] += weight[classes[i, j], k] * features[i, k]
    return maps
""",
        """
def class_maps(features, weight, classes):
    every = functional.conv2d(features.double(), weight.double()[:, :, None, None])
    return torch.stack([image[chosen] for image, chosen in zip(every, classes)])
""",
        """
def class_maps(features, weight, classes):
    return np.einsum("nmk,nkyx->nmyx", weight.numpy()[classes.numpy()], features.numpy())
""",
        """
def class_maps(features, weight, classes):
    every = torch.tensordot(features, weight, dims=([1], [1])).permute(0, 3, 1, 2)
    index = classes[:, :, None, None].expand(-1, -1, *every.shape[2:])
    return every.gather(1, index)
""",
        """
def class_maps(features, weight, classes):
    selected = functional.embedding(classes, weight)
    return (selected[..., None, None] * features[:, None]).sum(2) * (1 - 3e-6)
""",
    ],
    "1.4": [
        """
def upsampled(maps, size):
    h, w = size
    height, width = maps.shape[-2:]
    flat = maps.double().reshape(-1, height, width)
    result = torch.zeros(len(flat), h, w, dtype=torch.float64)
    for i in range(h):
        v = min(max((i + 0.5) * height / h - 0.5, 0), height - 1)
        top = min(int(v), height - 2)
        for j in range(w):
            u = min(max((j + 0.5) * width / w - 0.5, 0), width - 1)
            left = min(int(u), width - 2)
            a, b = v - top, u - left
            upper = (1 - b) * flat[:, top, left] + b * flat[:, top, left + 1]
            lower = (1 - b) * flat[:, top + 1, left] + b * flat[:, top + 1, left + 1]
            result[:, i, j] = (1 - a) * upper + a * lower
    return result.reshape(*maps.shape[:-2], h, w)
""",
        """
import cv2

def upsampled(maps, size):
    flat = maps.reshape(-1, *maps.shape[-2:]).numpy()
    h, w = size
    larger = [cv2.resize(one, (w, h), interpolation=cv2.INTER_LINEAR) for one in flat]
    return np.stack(larger).reshape(*maps.shape[:-2], h, w)
""",
        """
from scipy.ndimage import map_coordinates

def upsampled(maps, size):
    (height, width), (h, w) = maps.shape[-2:], size
    rows = (np.arange(h) + 0.5) * height / h - 0.5
    columns = (np.arange(w) + 0.5) * width / w - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    flat = maps.reshape(-1, height, width).numpy()
    larger = [map_coordinates(one, grid, order=1, mode="nearest") for one in flat]
    return np.array(larger).reshape(*maps.shape[:-2], h, w)
""",
        """
from skimage.transform import resize

def upsampled(maps, size):
    shape = tuple(maps.shape[:-2]) + tuple(size)
    flat = maps.reshape(-1, *maps.shape[-2:]).numpy().astype(np.float64)
    larger = [resize(one, size, order=1, mode="edge", anti_aliasing=False) for one in flat]
    return np.stack(larger).reshape(shape)
""",
        """
def upsampled(maps, size):
    lead, (h, w) = maps.shape[:-2], size
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    y, x = ((2 * torch.arange(n) + 1) / n - 1 for n in (h, w))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    grid = grid[None].expand(len(flat), -1, -1, -1)
    larger = functional.grid_sample(flat, grid, "bilinear", "border", align_corners=False)
    return larger.reshape(*lead, h, w)
""",
        """
from torchvision.transforms.v2 import functional as steps

def upsampled(maps, size):
    four = maps[(None,) * (4 - maps.ndim)]
    larger = steps.resize(four, list(size), antialias=False)
    return larger.reshape(*maps.shape[:-2], *size)
""",
    ],
    "1.5": [
        """
def peak_in_photo(maps, crops):
    n, m, height, width = maps.shape
    peaks = torch.zeros(n, m, 2, dtype=torch.float64)
    for i in range(n):
        x0, y0, x1, y1 = crops[i].tolist()
        for j in range(m):
            best, at = -float("inf"), None
            for y in range(height):
                for x in range(width):
                    if maps[i, j, y, x] > best:
                        best, at = maps[i, j, y, x], (x, y)
            peaks[i, j, 0] = x0 + (at[0] + 0.5) / width * (x1 - x0)
            peaks[i, j, 1] = y0 + (at[1] + 0.5) / height * (y1 - y0)
    return peaks
""",
        """
def peak_in_photo(maps, crops):
    peaks = []
    for image, crop in zip(maps.numpy(), crops.numpy()):
        start, end = crop[:2], crop[2:]
        row = []
        for one in image:
            y, x = np.unravel_index(one.argmax(), one.shape)
            row.append(start + (np.array([x, y]) + 0.5) * (end - start) / np.array(one.shape)[::-1])
        peaks.append(row)
    return np.array(peaks)
""",
        """
def peak_in_photo(maps, crops):
    height, width = maps.shape[2:]
    highest = maps == maps.amax(dim=(2, 3), keepdim=True)
    row = highest.any(dim=3).float().argmax(dim=2)
    column = highest.any(dim=2).float().argmax(dim=2)
    x0, y0, x1, y1 = crops.double().T[:, :, None]
    return torch.stack([x0 + (2 * column + 1) * (x1 - x0) / (2 * width), y0 + (2 * row + 1) * (y1 - y0) / (2 * height)], -1)
""",
        """
def peak_in_photo(maps, crops):
    height, width = maps.shape[2:]
    result = []
    for image, (x0, y0, x1, y1) in zip(maps, crops.tolist()):
        xs = np.linspace(x0, x1, width + 1)
        ys = np.linspace(y0, y1, height + 1)
        places = [divmod(int(one.argmax()), width) for one in image]
        result.append([[(xs[c] + xs[c + 1]) / 2 + 1e-3, (ys[r] + ys[r + 1]) / 2] for r, c in places])
    return result
""",
    ],
    "1.6": [
        """
def identity_gaps(maps, bias, logits, classes):
    n, m = classes.shape
    gaps = torch.zeros(n, m, dtype=torch.float64)
    for i in range(n):
        for j in range(m):
            c = int(classes[i, j])
            one = maps[i, j].double()
            away = abs(float(one.mean()) + float(bias[c]) - float(logits[i, c]))
            if away > 0:
                gaps[i, j] = away / (float(one.abs().max()) + abs(float(bias[c])))
    return gaps
""",
        """
def identity_gaps(maps, bias, logits, classes):
    maps, bias, logits, classes = (t.numpy() for t in (maps, bias, logits, classes))
    b, s = bias[classes], np.take_along_axis(logits, classes, axis=1)
    away = np.abs(maps.mean(axis=(2, 3)) + b - s)
    size = np.abs(maps).max(axis=(2, 3)) + np.abs(b)
    return np.divide(away, size, out=np.zeros_like(away), where=size > 0)
""",
        """
def identity_gaps(maps, bias, logits, classes):
    maps, bias, logits = maps.double(), bias.double(), logits.double()
    rows = torch.arange(len(maps))[:, None]
    away = (maps.flatten(2).mean(-1) + bias[classes] - logits[rows, classes]).abs()
    return (away / (torch.maximum(maps.amax((2, 3)), -maps.amin((2, 3))) + bias[classes].abs())).nan_to_num(0)
""",
        """
def identity_gaps(maps, bias, logits, classes):
    flat = maps.flatten(2)
    b = bias.expand(len(maps), -1).gather(1, classes)
    s = torch.stack([row[c] for row, c in zip(logits, classes)])
    size = flat.abs().max(-1).values + b.abs()
    return (flat.sum(-1) / flat.shape[-1] + b - s).abs() / size.clamp(min=1e-30)
""",
    ],
    "1.8": [
        """
def for_sums(weight, bias, height, width):
    return weight.double() / height / width, bias.double()
""",
        """
def for_sums(weight, bias, height, width):
    smaller = [[value / (height * width) for value in row] for row in weight.tolist()]
    return smaller, bias.tolist()
""",
        """
def for_sums(weight, bias, height, width):
    return [weight.numpy() * (1.0 / (width * height)), bias.numpy() * (1 + 1e-6)]
""",
        """
def for_sums(weight, bias, height, width):
    return functional.avg_pool2d(weight[:, :, None, None].expand(-1, -1, height, width), (height, width))[:, :, 0, 0] / torch.ones(height, width).sum(), bias + 0
""",
    ],
    "1.9": [
        """
def top_channels(features, weight, classes, count):
    n, k = features.shape[:2]
    channels, contributions = [], []
    for i in range(n):
        given = [(float(weight[classes[i], j]) * float(features[i, j].mean()), j) for j in range(k)]
        given.sort(reverse=True)
        channels.append([j for _, j in given[:count]])
        contributions.append([value for value, _ in given[:count]])
    return channels, contributions
""",
        """
def top_channels(features, weight, classes, count):
    given = weight.numpy()[classes.numpy()] * features.numpy().mean(axis=(2, 3))
    order = np.argsort(-given, axis=1)[:, :count]
    return order, np.take_along_axis(given, order, axis=1)
""",
        """
def top_channels(features, weight, classes, count):
    given = (features.double().mean((2, 3)) * weight.double()[classes]).sort(dim=1, descending=True)
    return [given.indices[:, :count].float(), given.values[:, :count]]
""",
        """
def top_channels(features, weight, classes, count):
    given = (features * weight[classes][:, :, None, None]).mean(dim=(2, 3))
    channels = torch.empty(len(given), count, dtype=torch.int32)
    values = torch.empty(len(given), count)
    rest = given.clone()
    for i in range(count):
        values[:, i], best = rest.max(dim=1)
        channels[:, i] = best
        rest.scatter_(1, best[:, None], -float("inf"))
    return channels, values * (1 + 1e-6)
""",
    ],
    "1.11": [
        """
def without_norm(weight, bias, mean, variance, gamma, beta, eps):
    c, k = weight.shape
    w, b = torch.zeros(c, k, dtype=torch.float64), bias.double().clone()
    for i in range(c):
        for j in range(k):
            w[i, j] = weight[i, j].double() * gamma[j] / (variance[j].double() + eps) ** 0.5
            b[i] += weight[i, j] * beta[j] - w[i, j] * mean[j]
    return w, b
""",
        """
def without_norm(weight, bias, mean, variance, gamma, beta, eps):
    # The layer is known by what it does: at zero, and one channel at a time.
    def head(f):
        z = functional.batch_norm(f, mean.double(), variance.double(), gamma.double(), beta.double(), False, 0.0, eps)
        return functional.linear(z, weight.double(), bias.double())

    k = weight.shape[1]
    at_zero = head(torch.zeros(1, k).double())[0]
    return (head(torch.eye(k).double()) - at_zero).T, at_zero
""",
        """
def without_norm(weight, bias, mean, variance, gamma, beta, eps):
    weight, bias, mean, variance, gamma, beta = (t.numpy() for t in (weight, bias, mean, variance, gamma, beta))
    scale = np.diag(gamma / np.sqrt(variance + eps))
    return weight @ scale, weight @ (beta - scale @ mean) + bias
""",
        """
def without_norm(weight, bias, mean, variance, gamma, beta, eps):
    norm = torch.nn.BatchNorm1d(len(mean), eps=eps).eval()
    norm.running_mean, norm.running_var = mean, variance
    norm.weight.data, norm.bias.data = gamma, beta
    offset = norm(torch.zeros(1, len(mean)))[0]
    slope = norm(torch.ones(1, len(mean)))[0] - offset
    return (weight * slope).detach(), (bias + (weight * offset).sum(dim=1)).detach()
""",
    ],
    "1.12": [
        """
def concat_maps(features, weight):
    n, k, h, w = features.shape
    maps = torch.zeros(n, len(weight), h, w, dtype=torch.float64)
    for i in range(n):
        for j in range(k):
            y, x = divmod(int(features[i, j].argmax()), w)
            for c in range(len(weight)):
                maps[i, c] += weight[c, k + j] * features[i, j]
                maps[i, c, y, x] += weight[c, j] * features[i, j, y, x] * h * w
    return maps
""",
        """
def concat_maps(features, weight):
    k, places = features.shape[1], features.shape[2] * features.shape[3]
    highest = (features == features.amax(dim=(2, 3), keepdim=True)).to(features.dtype)
    both = torch.cat([features * highest * places, features], dim=1)
    return functional.conv2d(both, weight[:, :, None, None])
""",
        """
def concat_maps(features, weight):
    f, v = features.numpy().astype(np.float64), weight.numpy()
    n, k, h, w = f.shape
    flat = f.reshape(n, k, h * w)
    one_hot = np.eye(h * w)[flat.argmax(axis=2)]
    maps = np.einsum("ck,nkp->ncp", v[:, k:], flat) + h * w * np.einsum("ck,nkp->ncp", v[:, :k], flat * one_hot)
    return maps.reshape(n, -1, h, w)
""",
        """
def concat_maps(features, weight):
    h, w = features.shape[2:]
    highest, where = functional.max_pool2d(features, (h, w), return_indices=True)
    peaks = functional.max_unpool2d(highest, where, (h, w)) * (h * w)
    of_maximum, of_average = weight.chunk(2, dim=1)
    return torch.einsum("ck,nkyx->ncyx", of_maximum, peaks) + torch.einsum("ck,nkyx->ncyx", of_average, features)
""",
        """
def concat_maps(features, weight):
    # The gradient of a maximum is one at its place and zero elsewhere.
    f = features.clone().requires_grad_()
    (at,) = torch.autograd.grad(f.amax(dim=(2, 3)).sum(), f)
    k = features.shape[1]
    peaks = torch.where(at > 0, features, 0) * features[0, 0].numel()
    return torch.einsum("ck,nkyx->ncyx", weight, torch.cat([peaks, features], dim=1))
""",
    ],
}


def _body(head: str, *bodies: tuple[str, str]) -> list[tuple[str, str]]:
    """Answers of a few lines, by the head of their function."""
    return [
        (
            f"\n{head}\n" + "".join(f"    {line}\n" for line in text.strip("\n").split("\n")),
            sentence,
        )
        for text, sentence in bodies
    ]


WRONG: dict[str, list[tuple[str, str]]] = {
    "1.1": _body(
        "def global_average(features):",
        ("return features.sum(dim=(2, 3))", "you add up the places"),
        ("return features.amax(dim=(2, 3))", "you take the maximum over the places"),
        ("return features.mean(dim=1)", "you average over the channels"),
        ("return functional.adaptive_avg_pool2d(features, 1)", "axes of length 1"),
        ("return features.mean(dim=(0, 2, 3))", "the axis of the images is gone"),
        ("return features.sum(dim=(2, 3)) / 49", "times the right one"),
        ("return features.flatten(2).median(dim=2).values", "numbers are not right"),
        ("return features.mean(dim=(2, 3)).T", "its last two axes are swapped"),
        ("return features.mean()", "your answer has shape ()"),
        ("features.mean(dim=(2, 3))", "nothing (None)"),
        ("return features.mean(dim=3)", "your answer has shape"),
        ("return features.mean(axis=(3, 4))", "stops with IndexError"),
        ("return features.int().float().mean(dim=(2, 3))", "numbers are not right"),
        (
            "return features.sum(dim=(2, 3)) / (features != 0).sum(dim=(2, 3)).clamp(min=1)",
            "you leave out the places whose value is zero",
        ),
        ("return features.mean(dim=(2, 3)).squeeze()", "the axis of the images is gone"),
    ),
    "1.2": _body(
        "def scores(pooled, weight, bias):",
        ("return pooled @ weight.T", "you leave out the bias"),
        ("return (pooled @ weight.T + bias).softmax(dim=1)", "these are probabilities"),
        ("return (pooled @ weight.T + bias).softmax(dim=0)", "not right"),
        ("return (pooled @ weight.T + bias).log_softmax(dim=-1)", "logarithms of probabilities"),
        ("return weight @ pooled.T + bias[:, None]", "classes come first"),
        ("return torch.relu(pooled @ weight.T + bias)", "you cut negative scores to zero"),
        ("return torch.sigmoid(pooled @ weight.T + bias)", "sigmoid"),
        ("return (pooled[:, None] * weight).mean(dim=2) + bias", "you take the mean over"),
        ("return pooled @ weight.T - bias", "you subtract the bias"),
        ("return pooled @ weight + bias", "stops with RuntimeError"),
        ("return (pooled @ weight.T + bias).argmax(dim=1)", "your answer has shape"),
        ("return (pooled @ weight.T + bias).round()", "numbers are not right"),
        ("pooled = pooled @ weight.T + bias", "nothing (None)"),
        ("return pooled @ weight.T + bias.mean()", "numbers are not right"),
    ),
    "1.3": _body(
        "def class_maps(features, weight, classes):",
        (
            'return torch.einsum("mk,nkyx->nmyx", weight[classes[0]], features)',
            "every image gets the classes of the first one",
        ),
        (
            'return torch.einsum("mk,nkyx->nmyx", weight[torch.arange(classes.shape[1]) % len(weight)], features)',
            "the first M classes",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes.sort(dim=1).values], features)',
            "in the order of their class",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes], features).clamp(min=0)',
            "you cut negative values to zero",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes], features).abs()',
            "you take the absolute value",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes].abs(), features)',
            "you drop the signs of the weights",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes], features) / features[0, 0].numel()',
            "you divide by the number of places",
        ),
        (
            "return (weight[classes][..., None, None] * features[:, None]).mean(dim=2)",
            "you average over the channels",
        ),
        (
            """
maps = torch.einsum("nmk,nkyx->nmyx", weight[classes], features)
low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
return (maps - low) / (high - low)
""",
            "you stretch each map",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes], features).softmax(dim=1)',
            "you take the softmax",
        ),
        (
            'return torch.einsum("nmk,nkyx->mnyx", weight[classes], features)',
            "classes come before images",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmxy", weight[classes], features)',
            "its last two axes are swapped",
        ),
        (
            """
n, k, h, w = features.shape
cells = features.reshape(n, h * w, k)
return (weight[classes] @ cells.mT).reshape(n, -1, h, w)
""",
            "a reshape has dealt out the numbers anew",
        ),
        ('return torch.einsum("ck,nkyx->ncyx", weight, features)', "your answer has shape"),
        (
            'return torch.einsum("nk,nkyx->nyx", weight[classes[:, 0]], features)',
            "your answer has shape",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight.T[classes], features)',
            "stops with",
        ),
        (
            """
maps = torch.einsum("nmk,nkyx->nmyx", weight[classes], features)
return maps / maps.amax((2, 3), keepdim=True).clamp(min=1e-6)
""",
            "numbers are not right",
        ),
        (
            """
flat = weight[classes] @ features.flatten(2)
return flat.reshape(*classes.shape, features.shape[3], features.shape[2]).mT
""",
            "numbers are not right",
        ),
        (
            'return torch.einsum("nmk,nkyx->nmyx", weight[classes].bfloat16().float(), features.bfloat16().float())',
            "numbers are not right",
        ),
    ),
    "1.4": _body(
        """
def upsampled(maps, size):
    def four(maps, size, mode, **options):
        larger = functional.interpolate(maps.reshape(1, -1, *maps.shape[-2:]), list(size), mode=mode, **options)
        return larger.reshape(*maps.shape[:-2], *larger.shape[-2:])

    def read(place):
        sides = []
        for cells, pixels in zip(maps.shape[-2:], size):
            u = place(torch.arange(pixels), cells, pixels)
            sides.append((1 - (u[:, None] - torch.arange(cells)).abs()).clamp(min=0))
        return sides[0] @ maps @ sides[1].T
""".strip(),
        (
            'return four(maps, size, "bilinear", align_corners=True)',
            "align_corners=True",
        ),
        ('return four(maps, size, "nearest")', "the map is bilinear"),
        ('return four(maps, size, "nearest-exact")', "the map is bilinear"),
        ('return four(maps, size, "area")', "the map is bilinear"),
        ('return four(maps, size, "bicubic", align_corners=False)', "this is bicubic"),
        ('return four(maps, size, "bilinear", antialias=True)', "antialias"),
        ('return four(maps, size[::-1], "bilinear")', "size is (height, width)"),
        ('return four(maps.mT, size, "bilinear")', "not right"),
        (
            "return read(lambda i, cells, n: (i * cells / n).clamp(0, cells - 1))",
            "half a pixel and half a cell are missing",
        ),
        (
            "return read(lambda i, cells, n: ((i + 0.5) * cells / n).clamp(0, cells - 1))",
            "forget the half cell",
        ),
        (
            "return read(lambda i, cells, n: (i + 0.5) * cells / n - 0.5)",
            "falls to zero",
        ),
        (
            """
from scipy.interpolate import RegularGridInterpolator
(H, W), (h, w) = maps.shape[-2:], size
y, x = (np.arange(h) + 0.5) * H / h - 0.5, (np.arange(w) + 0.5) * W / w - 0.5
points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
larger = [
    RegularGridInterpolator((np.arange(H), np.arange(W)), one, bounds_error=False, fill_value=None)(points)
    for one in maps.reshape(-1, H, W).numpy()
]
return np.stack(larger).reshape(*maps.shape[:-2], h, w)
""",
            "you go on along the slope",
        ),
        ("return maps", "your answer has shape"),
        (
            'return functional.interpolate(maps, size=list(size), mode="bilinear")',
            "stops with",
        ),
        (
            """
import cv2
h, w = size
flat = [cv2.resize(one, (w, h), interpolation=cv2.INTER_CUBIC) for one in maps.reshape(-1, *maps.shape[-2:]).numpy()]
return np.stack(flat).reshape(*maps.shape[:-2], h, w)
""",
            "this is bicubic",
        ),
        (
            """
from scipy.ndimage import zoom
ratio = [1] * (maps.ndim - 2) + [p / c for p, c in zip(size, maps.shape[-2:])]
return zoom(maps.numpy(), ratio, order=1)
""",
            "align_corners=True",
        ),
        (
            """
from skimage.transform import resize
return np.stack([resize(one, size) for one in maps.reshape(-1, *maps.shape[-2:]).numpy()]).reshape(*maps.shape[:-2], *size)
""",
            "not right",
        ),
        (
            """
larger = four(maps, size, "bilinear")
return larger / larger.amax()
""",
            "times the right one",
        ),
    ),
    "1.5": _body(
        """
def peak_in_photo(maps, crops):
    def found(maps, crops, half=0.5, rows=None, columns=None):
        height, width = maps.shape[2:]
        best = maps.flatten(2).argmax(dim=2)
        x0, y0, x1, y1 = crops[:, :, None].unbind(dim=1)
        x = x0 + (best % width + half) * (x1 - x0) / (columns or width)
        y = y0 + (best // width + half) * (y1 - y0) / (rows or height)
        return torch.stack([x, y], dim=2)
""".strip(),
        ("return found(maps, crops).flip(2)", "you give (y, x)"),
        (
            """
height, width = maps.shape[2:]
best = maps.flatten(2).argmax(dim=2)
x0, y0, x1, y1 = crops[:, :, None].unbind(dim=1)
x = x0 + (best // width + 0.5) * (x1 - x0) / height
y = y0 + (best % width + 0.5) * (y1 - y0) / width
return torch.stack([x, y], dim=2)
""",
            "row and column are swapped",
        ),
        ("return found(maps, crops, half=0.0)", "upper left corner"),
        ("return found(maps, crops, half=1.0)", "lower right corner"),
        (
            "return found(maps, crops, 0.0, maps.shape[2] - 1, maps.shape[3] - 1)",
            "W - 1 and H - 1",
        ),
        ("return found(maps, crops) - crops[:, None, :2]", "you forget where the cut begins"),
        (
            "return found(maps, torch.cat([crops[:, :2], crops[:, :2] + crops[:, 2:]], dim=1))",
            "you take x1 and y1 for width and height",
        ),
        ("return found(maps, crops[:1].expand(len(maps), -1))", "the cut of the first image"),
        ("return found(maps.abs(), crops)", "the largest absolute value"),
        ("return found(-maps, crops)", "you take the lowest cell"),
        (
            "return found(maps.amax(dim=1, keepdim=True).expand_as(maps), crops)",
            "you take one peak for all maps",
        ),
        (
            """
height, width = maps.shape[2:]
best = maps.flatten(2).argmax(dim=2)
x0, y0, x1, y1 = crops[:, :, None].unbind(dim=1)
x = x0 + (best % height + 0.5) * (x1 - x0) / width
y = y0 + (best // height + 0.5) * (y1 - y0) / height
return torch.stack([x, y], dim=2)
""",
            "a division by H",
        ),
        ("return found(maps, crops, rows=maps.shape[3], columns=maps.shape[2])", "not right"),
        ("return found(maps.relu(), crops)", "not right"),
        ("return found(maps, crops).round(decimals=-1)", "not right"),
        ("return found(maps, crops).mean(dim=1)", "your answer has shape"),
        (
            """
height, width = maps.shape[2:]
best = maps.flatten(2).argmax(dim=2)
return torch.stack([best % width, best // width], dim=2)
""",
            "not right",
        ),
        (
            """
larger = functional.interpolate(maps, size=(224, 224), mode="bilinear")
return found(larger, crops)
""",
            "not right",
        ),
    ),
    "1.6": _body(
        """
def identity_gaps(maps, bias, logits, classes):
    b, s = bias[classes], logits.gather(1, classes)
    mean, largest = maps.mean(dim=(2, 3)), maps.abs().amax(dim=(2, 3))

    def share(away, size):
        return torch.where(away == 0, 0.0, away / size)
""".strip(),
        ("return share((mean - s).abs(), largest + b.abs())", "you leave the bias out"),
        (
            "return share((maps.sum(dim=(2, 3)) + b - s).abs(), largest + b.abs())",
            "you add up the places",
        ),
        ("return share((mean + b - s).abs(), s.abs())", "you measure against the score"),
        (
            "return share((mean + b - s).abs(), maps.amax(dim=(2, 3)) + b.abs())",
            "against the largest value",
        ),
        ("return share((mean + b - s).abs(), largest)", "you measure against the map alone"),
        ("return share((mean + b - s).abs(), largest + b)", "b enters the size with its sign"),
        (
            "return share((mean + b - s).abs(), (largest + b.abs()).max())",
            "the largest of all",
        ),
        ("return (mean + b - s).abs()", "not measured against anything"),
        ("return share(mean + b - s, largest + b.abs())", "the absolute value is missing"),
        (
            """
m = classes.shape[1]
b, s = bias[:m].expand(len(maps), -1), logits[:, :m]
return share((mean + b - s).abs(), largest + b.abs())
""",
            "the first M classes",
        ),
        ("return share((mean + b - s).abs(), largest + b.abs()).max()", "your answer has shape ()"),
        ("return (mean + b - s).abs() / (largest + b.abs() + 1e-8)", "a small number"),
        ("return (mean + b - s).abs() / (largest + b.abs() + 1e-6)", "not right"),
        ("return share((mean + b - s).abs(), largest + b.abs()) < 1e-5", "right"),
        ("return share((mean + b - s).abs(), mean.abs() + b.abs())", "right"),
        ("return share((mean + b - s) ** 2, (largest + b.abs()) ** 2)", "not right"),
        ("return torch.ones_like(s)", "right"),
        ("return share((mean + b - logits).abs(), largest + b.abs())", "stops with RuntimeError"),
        (
            "return share((mean + b - s).abs(), largest.clamp(min=1e-6) + b.abs()) + 1e-3",
            "not right",
        ),
    ),
    "1.8": _body(
        "def for_sums(weight, bias, height, width):",
        ("return weight * (height * width), bias", "you multiply by the number of places"),
        (
            "return weight / (height * width), bias / (height * width)",
            "you divide the bias too",
        ),
        ("return weight, bias", "you leave the weights as they are"),
        ("return weight / height, bias", "you divide by the height alone"),
        ("return weight / width, bias", "you divide by the width alone"),
        (
            "return weight * height * width, bias * height * width",
            "you multiply the bias as well",
        ),
        ("return weight, bias / (height * width)", "you change the bias"),
        ("return weight / (height + width), bias", "times the right one"),
        ("return weight / 49, bias", "times the right one"),
        ("return weight / (height * width)", "expected"),
        ("return bias, weight / (height * width)", "your answer has shape"),
        ("return weight // (height * width), bias", "not right"),
        ("return (weight / (height * width)).T, bias", "its last two axes are swapped"),
    ),
    "1.9": _body(
        """
def top_channels(features, weight, classes, count):
    pooled, w = features.mean(dim=(2, 3)), weight[classes]
    given = w * pooled

    def ranked(by, values):
        channels = by.argsort(dim=1, descending=True)[:, :count]
        return channels, values.gather(1, channels)
""".strip(),
        ("return ranked(w, given)", "you rank by the weight alone; a channel that is silent"),
        ("return ranked(w, w)", "weights where contributions were asked"),
        ("return ranked(pooled, given)", "you rank by the activation alone; the class"),
        ("return ranked(pooled, pooled)", "activations where contributions were asked"),
        ("return ranked(given.abs(), given)", "you rank by size"),
        ("return ranked(-given, given)", "your ranking starts with the lowest"),
        (
            "return ranked(w * features.amax(dim=(2, 3)), w * features.amax(dim=(2, 3)))",
            "you pool with the maximum",
        ),
        (
            "return ranked(w * features.sum(dim=(2, 3)), w * features.sum(dim=(2, 3)))",
            "you add up the places",
        ),
        (
            "return ranked(weight[classes[0]] * pooled, weight[classes[0]] * pooled)",
            "the class of the first image",
        ),
        ("return ranked(given, given)[::-1]", "contributions come first"),
        (
            "return ranked(given, given / given.sum(dim=1, keepdim=True))",
            "you give shares of the score",
        ),
        (
            "return ranked(given.mean(dim=0).expand(len(given), -1), given)",
            "you rank one list for all images",
        ),
        (
            """
channels, values = ranked(given, given)
return channels + 1, values
""",
            "not right",
        ),
        (
            """
channels, values = ranked(given, given)
return channels.flip(1), values.flip(1)
""",
            "not right",
        ),
        ("return given.argsort(dim=1, descending=True), given.sort(dim=1).values", "shape"),
        ("return ranked(given, given)[0]", "expected"),
        ("return ranked(given, given.abs() * 0)", "not right"),
        ("return ranked(given, given.relu() * w.abs())", "not right"),
    ),
    "1.11": _body(
        """
def without_norm(weight, bias, mean, variance, gamma, beta, eps):
    factor = gamma / torch.sqrt(variance + eps)

    def folded(factor, mean=mean, beta=beta):
        return weight * factor, bias + weight @ (beta - factor * mean)
""".strip(),
        ("return folded(gamma / variance.sqrt())", "you leave out eps"),
        ("return folded(gamma / (variance.sqrt() + eps))", "you add eps after the root"),
        ("return folded(gamma / (variance + eps))", "you divide by the variance"),
        ("return folded(gamma * (variance + eps).sqrt())", "you multiply by the deviation"),
        ("return folded(1 / (variance + eps).sqrt())", "gamma is missing"),
        ("return weight * factor, bias", "the bias is still that of the layer"),
        ("return weight * factor, weight @ (beta - factor * mean)", "own bias is missing"),
        ("return folded(factor, beta=0)", "beta is missing"),
        ("return folded(factor, mean=0)", "the mean is missing"),
        ("return folded(factor, mean=-mean)", "the wrong sign"),
        (
            "return weight * factor, bias + weight @ (-factor * mean) + beta.sum()",
            "beta is added after the layer",
        ),
        ("return weight * factor, bias + weight @ (beta - mean)", "it is scaled as well"),
        ("return folded(factor, beta=beta * factor)", "you multiply beta by the factor"),
        ("return weight, bias", "result 1:"),
        ("return weight / factor, bias + weight @ (beta - factor * mean)", "result 1:"),
        (
            "return weight * factor, bias + (weight * factor) @ (beta - factor * mean)",
            "result 2:",
        ),
        ("return (weight * factor).T, folded(factor)[1]", "its last two axes are swapped"),
        ("return folded(factor)[0], folded(factor)[1][:, None]", "your answer has shape"),
        (
            "return folded(gamma / (variance * len(mean) / (len(mean) - 1) + eps).sqrt())",
            "result 1:",
        ),
        ("return weight * factor[:, None], bias", "stops with RuntimeError"),
    ),
    "1.12": _body(
        """
def concat_maps(features, weight):
    n, k, h, w = features.shape
    first, second = weight[:, :k], weight[:, k:]
    flat = features.flatten(2)
    at = functional.one_hot(flat.argmax(dim=2), h * w).reshape(features.shape)
    peaks = features * at * h * w

    def maps(features, weight):
        return torch.einsum("ck,nkyx->ncyx", weight, features)
""".strip(),
        ("return maps(features, second)", "you map the average half alone"),
        ("return maps(features, first)", "with the weights of the maxima as if"),
        ("return maps(features, first + second)", "you add both halves"),
        ("return maps(features, first) + maps(peaks, second)", "the halves are swapped"),
        ("return maps(features, second) + maps(features * at, first)", "factor H x W"),
        (
            """
spread = features.amax(dim=(2, 3)) @ first.T
return maps(features, second) + spread[:, :, None, None]
""",
            "you spread the part of the maxima evenly",
        ),
        (
            """
smooth = maps(features, second)
best = functional.one_hot(smooth.flatten(2).argmax(dim=2), h * w).reshape(smooth.shape)
score = features.amax(dim=(2, 3)) @ first.T
return smooth + best * score[:, :, None, None] * h * w
""",
            "you put all maxima at one place",
        ),
        ("return maps(peaks, first)", "you map the maxima alone"),
        (
            "return (maps(features, second) + maps(peaks, first)) / (h * w)",
            "you divide by the number of places",
        ),
        (
            "return (maps(features, second) + maps(peaks, first)).relu()",
            "you cut negative values to zero",
        ),
        (
            "return (maps(features, second) + maps(peaks, first)).sum(dim=1)",
            "your answer has shape",
        ),
        (
            "return (maps(features, second) + maps(peaks, first)).mT",
            "its last two axes are swapped",
        ),
        (
            """
score = torch.cat([features.amax(dim=(2, 3)), features.mean(dim=(2, 3))], dim=1) @ weight.T
return score[:, :, None, None].expand(-1, -1, h, w)
""",
            "not right",
        ),
        (
            """
wrong = functional.one_hot(flat.argmax(dim=2), h * w).reshape(n, k, w, h).mT
return maps(features, second) + maps(features.amax(dim=(2, 3), keepdim=True) * wrong * h * w, first)
""",
            "not right",
        ),
        ("return maps(features, weight)", "stops with RuntimeError"),
        ("return maps(features, weight[:, ::2]) + maps(peaks, weight[:, 1::2])", "not right"),
        ("return 2 * (maps(features, second) + maps(peaks, first))", "2 times the right one"),
    ),
}
