"""Answers to problem set 2: right ones written in many ways, wrong ones and what they are told."""

# ruff: noqa: E501

from __future__ import annotations


def changed(text: str, *changes: tuple[str, str]) -> str:
    """The text with each first word of a pair replaced by its second, wherever it stands."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


SIDES = """
def map_sides(layers, side):
    found = []
    for layer in layers:
        k, s, p = layer["kernel"], layer["stride"], layer["padding"]
        room = side + 2 * p - k
        steps = room // s
        if layer["ceil"]:
            steps = (room + s - 1) // s
            if steps * s >= side + p:
                steps = steps - 1
        side = steps + 1
        found.append(side)
    return found
"""

GEOMETRY = """
def cell_geometry(layers):
    field, step, first = 1, 1, 0.5
    for layer in layers:
        k, s, p = layer["kernel"], layer["stride"], layer["padding"]
        field += (k - 1) * step
        first += ((k - 1) / 2 - p) * step
        step *= s
    return {"field": field, "step": step, "first": first}
"""

COUNT = """
def count_saved(before, after):
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    def total(shapes):
        count = 0
        for name, shape in shapes.items():
            if not name.endswith(buffers):
                size = 1
                for n in shape:
                    size *= n
                count += size
        return count
    new = {name: shape for name, shape in after.items() if name not in before or before[name] != shape}
    one, two = total(before), total(after)
    return {"before": one, "after": two, "new": total(new), "saved": (one - two) / one}
"""

FORM = """
def gap_form(network, cut, units, num_classes):
    names = [name for name, _ in network.features.named_children()]
    layers = OrderedDict()
    for name in names[: names.index(cut) + 1]:
        layers[name] = copy.deepcopy(getattr(network.features, name))
    channels = layers[cut].conv.out_channels
    layers["cam_conv"] = nn.Conv2d(channels, units, 3, stride=1, padding=1)
    layers["cam_relu"] = nn.ReLU()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, num_classes))
    return Network(nn.Sequential(layers), head)
"""

OWN_FORM = changed(
    """
class Form(Network):
    def get_classifier(self):
        return [layer for layer in self.head if isinstance(layer, nn.Linear)][0]

"""
    + FORM,
    ("return Network", "return Form"),
)

RATES = """
def rate_groups(network, original, rate, share):
    old = {name: tuple(p.shape) for name, p in original.named_parameters()}
    kept, new = [], []
    for name, p in network.named_parameters():
        if old.get(name) == tuple(p.shape):
            kept.append(p)
        else:
            new.append(p)
    return [{"params": kept, "lr": share * rate}, {"params": new, "lr": rate}]
"""

CHOICE = """
def chosen_run(valid, test):
    best = None
    for epoch in range(valid.shape[1]):
        for recipe in range(valid.shape[0]):
            if best is None or valid[recipe, epoch] < valid[best]:
                best = recipe, epoch
    return {"recipe": best[0], "epoch": best[1] + 1, "valid": valid[best], "test": test[best]}
"""

PLACE = """
def place_map(heatmap, first, step, size):
    def matrix(pixels, cells):
        weights = torch.zeros(pixels, cells)
        for p in range(pixels):
            u = (p + 0.5 - first) / step
            u = min(max(u, 0.0), cells - 1.0)
            low = min(int(u), cells - 2)
            weights[p, low], weights[p, low + 1] = 1 - (u - low), u - low
        return weights
    return matrix(size[0], heatmap.shape[0]) @ heatmap @ matrix(size[1], heatmap.shape[1]).T
"""

RANKS = """
def true_ranks(logits, labels):
    own = logits[torch.arange(len(labels)), labels]
    return (logits >= own[:, None]).sum(dim=1)
"""

PRICE = """
def price_of_cut(before, after):
    d = after - before
    n = len(d)
    mean = 100 * d.mean().item()
    half = 100 * 1.96 * d.std().item() / n ** 0.5
    low, high = mean - half, mean + half
    word = "seen" if low > 0 else "opposite" if high < 0 else "unclear"
    return {"points": mean, "low": low, "high": high, "verdict": word}
"""

SEEDS = """
def price_over_seeds(before, after):
    from scipy import stats
    d = after - before
    m = len(d)
    half = stats.t.ppf(0.975, m - 1) * d.std().item() / m ** 0.5
    mean = d.mean().item()
    return {"mean": mean, "low": mean - half, "high": mean + half}
"""

RIGHT: dict[str, list[str]] = {
    "2.1": [
        SIDES,
        """
def map_sides(layers, side):
    # Layers of PyTorch, on a picture without numbers.
    x, found = torch.zeros(1, 1, 1, side), []
    for layer in layers:
        k, s, p = (layer[key] for key in ("kernel", "stride", "padding"))
        pool = nn.MaxPool2d((1, k), (1, s), (0, p), ceil_mode=layer["ceil"])
        x = pool(x)
        found.append(x.shape[-1])
    return torch.tensor(found)
""",
        """
def map_sides(layers, side):
    import math
    found = [side]
    for layer in layers:
        ends = (found[-1] + 2 * layer["padding"] - layer["kernel"]) / layer["stride"] + 1
        out = math.ceil(ends) if layer["ceil"] else math.floor(ends)
        while layer["ceil"] and (out - 1) * layer["stride"] >= found[-1] + layer["padding"]:
            out -= 1
        found.append(out)
    return tuple(found[1:])
""",
        """
def map_sides(layers, side):
    # Count the windows, one by one.
    found = []
    for layer in layers:
        start, count = 0, 0
        while True:
            fits = start + layer["kernel"] <= side + 2 * layer["padding"]
            reaches = start + layer["kernel"] - layer["stride"] < side + 2 * layer["padding"]
            begins = start < side + layer["padding"]
            if not (fits or (layer["ceil"] and reaches and begins)):
                break
            count, start = count + 1, start + layer["stride"]
        side = count
        found.append(np.float64(side))
    return np.array(found)
""",
    ],
    "2.2": [
        GEOMETRY,
        """
def cell_geometry(layers):
    # From the last layer back: the pixels from a to b of cell 0, b included.
    a = b = 0
    for layer in reversed(layers):
        a = a * layer["stride"] - layer["padding"]
        b = b * layer["stride"] - layer["padding"] + layer["kernel"] - 1
    step = int(np.prod([layer["stride"] for layer in layers]))
    return {"first": np.float32((a + b + 1) / 2), "step": step, "field": b - a + 1}
""",
        """
def cell_geometry(layers):
    # The gradient of a cell in the middle, all weights positive, as in the chapter.
    convolutions = [nn.Conv1d(1, 1, l["kernel"], l["stride"], l["padding"]) for l in layers]
    net = nn.Sequential(*convolutions).double()
    for p in net.parameters():
        nn.init.constant_(p, 1 / p.numel())
    step = np.prod([l["stride"] for l in layers])
    strip = torch.ones(1, 1, int(2000 + 8 * step), dtype=torch.double, requires_grad=True)
    cells = net(strip)[0, 0]
    i = len(cells) // 2
    cells[i].backward()
    matter = strip.grad[0, 0].nonzero().flatten()
    # Kernels smaller than a stride leave gaps within the field; its ends are what counts.
    left, right = matter.min().item(), matter.max().item() + 1
    return {"field": right - left, "step": step, "first": (left + right) / 2 - i * step}
""",
        """
def cell_geometry(layers):
    steps = np.cumprod([1] + [layer["stride"] for layer in layers])
    kernels = np.array([layer["kernel"] for layer in layers])
    paddings = np.array([layer["padding"] for layer in layers])
    field = 1 + ((kernels - 1) * steps[:-1]).sum()
    left = (paddings * steps[:-1]).sum()
    return {"field": float(field), "step": float(steps[-1]), "first": torch.tensor(field / 2 - left)}
""",
    ],
    "2.3": [
        COUNT,
        """
def count_saved(before, after):
    def is_parameter(name):
        return name.split(".")[-1] in ("weight", "bias")
    sizes = [{n: np.prod(s, dtype=int) for n, s in shapes.items() if is_parameter(n)} for shapes in (before, after)]
    new = sum(size for name, size in sizes[1].items() if before.get(name) != after[name])
    one, two = (sum(size.values()) for size in sizes)
    return dict(before=np.int64(one), after=two, new=new, saved=np.float32(1 - two / one))
""",
        """
def count_saved(before, after):
    import math
    counts = {"before": 0, "after": 0, "new": 0}
    for name in set(before) | set(after):
        if "running" in name or "num_batches" in name:
            continue
        if name in before:
            counts["before"] += math.prod(before[name])
        if name in after:
            counts["after"] += math.prod(after[name])
            if name not in before or list(before[name]) != list(after[name]):
                counts["new"] += math.prod(after[name])
    counts["saved"] = -(counts["after"] / counts["before"] - 1) * (1 + 1e-6)
    return counts
""",
        """
def count_saved(before, after):
    with torch.device("meta"):
        one = {n: torch.empty(s) for n, s in before.items() if not n.endswith(("_mean", "_var", "_tracked"))}
        two = {n: torch.empty(s) for n, s in after.items() if not n.endswith(("_mean", "_var", "_tracked"))}
    a, b = (sum(t.numel() for t in tensors.values()) for tensors in (one, two))
    kept = sum(t.numel() for n, t in two.items() if n in one and one[n].shape == t.shape)
    return {"before": torch.tensor(a), "after": torch.tensor(b), "new": b - kept, "saved": torch.tensor(1 - b / a)}
""",
    ],
    "2.4": [
        FORM,
        """
def gap_form(network, cut, units, num_classes):
    form = copy.deepcopy(network)
    names = list(dict(form.features.named_children()))
    for name in names[names.index(cut) + 1 :]:
        delattr(form.features, name)
    width = form.features[-1].norm.num_features
    form.features.append(nn.Conv2d(width, units, (3, 3), padding="same"))
    form.features.append(nn.ReLU(inplace=True))
    form.head = nn.Sequential(nn.AvgPool2d(1), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(units, num_classes))
    return form.train()
""",
        """
class Form(nn.Module):
    def __init__(self, trunk, units, num_classes):
        super().__init__()
        self.trunk = trunk
        with torch.no_grad():
            channels = trunk(torch.zeros(1, 3, 96, 96)).shape[1]
        self.new = nn.Conv2d(channels, units, 3, 1, 1)
        self.linear = nn.Linear(units, num_classes)

    def forward_features(self, images):
        return functional.relu(self.new(self.trunk(images)))

    def forward_head(self, features):
        n, k, h, w = features.shape
        return self.linear(features.reshape(n, k, h * w).sum(dim=2) / (h * w))

    def get_classifier(self):
        return self.linear

    def forward(self, images):
        return self.forward_head(self.forward_features(images))


def gap_form(network, cut, units, num_classes):
    trunk = nn.Sequential()
    for name, layer in copy.deepcopy(network.features).named_children():
        trunk.add_module(name, layer)
        if name == cut:
            break
    return Form(trunk.eval(), units, num_classes)
""",
        """
def gap_form(network, cut, units, num_classes):
    import io
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    features = torch.load(buffer, weights_only=False).features
    kept = []
    for name, layer in features.named_children():
        kept.append((name, layer))
        if name == cut:
            break
    new = nn.Conv2d(kept[-1][1].conv.weight.shape[0], units, 3, padding=1)
    nn.init.kaiming_normal_(new.weight, nonlinearity="relu")
    nn.init.zeros_(new.bias)

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    linear = nn.Linear(units, num_classes)
    features = nn.Sequential(OrderedDict(kept + [("new", nn.Sequential(new, nn.ReLU()))]))
    return Network(features, nn.Sequential(Mean(), linear))
""",
    ],
    "2.5": [
        RATES,
        """
def rate_groups(network, original, rate, share):
    # A group for each parameter; what has no rate of its own gets the optimizer's.
    old = dict(original.named_parameters())
    groups = []
    for name, parameter in network.named_parameters():
        group = {"params": [parameter]}
        if name in old and old[name].shape == parameter.shape:
            group["lr"] = rate * share
        groups.append(group)
    return groups
""",
        """
def rate_groups(network, original, rate, share):
    old = {(name, *p.shape) for name, p in original.named_parameters()}
    is_old = lambda item: (item[0], *item[1].shape) in old
    named = list(network.named_parameters())
    return (
        dict(params=(p for _, p in filter(is_old, named)), lr=torch.tensor(rate * share).item()),
        dict(params=(p for _, p in named if (_, *p.shape) not in old), lr=np.float64(rate)),
    )
""",
        """
def rate_groups(network, original, rate, share):
    state = original.state_dict()
    new = [p for n, p in network.named_parameters() if n not in state or state[n].shape != p.shape]
    ids = {id(p) for p in new}
    kept = [p for p in network.parameters() if id(p) not in ids]
    return [{"params": new}, {"params": kept, "lr": share * rate}]
""",
    ],
    "2.6": [
        CHOICE,
        """
def chosen_run(valid, test):
    recipes, epochs = np.nonzero(valid.numpy() == valid.numpy().min())
    epoch, recipe = min(zip(epochs, recipes))
    return dict(recipe=recipe, epoch=epoch + 1, valid=float(valid.min()), test=float(test[recipe, epoch]))
""",
        """
def chosen_run(valid, test):
    runs = [(error, epoch, recipe) for recipe, row in enumerate(valid.tolist()) for epoch, error in enumerate(row)]
    error, epoch, recipe = sorted(runs)[0]
    return {"recipe": torch.tensor(recipe), "epoch": torch.tensor(epoch) + 1, "valid": error, "test": test.float()[recipe, epoch]}
""",
        """
def chosen_run(valid, test):
    epoch = int((valid == valid.min()).any(dim=0).int().argmax())
    recipe = int((valid[:, epoch] == valid.min()).int().argmax())
    return {"recipe": recipe, "epoch": epoch + 1, "valid": valid[recipe, epoch], "test": test[recipe, epoch] * (1 + 1e-7)}
""",
    ],
    "2.7": [
        PLACE,
        """
def place_map(heatmap, first, step, size):
    # Rows with NumPy's interp, then columns; it keeps the end values.
    grid = heatmap.double().numpy()
    ys, xs = (first + step * np.arange(n) for n in grid.shape)
    wide = np.stack([np.interp(np.arange(size[1]) + 0.5, xs, row) for row in grid])
    return np.stack([np.interp(np.arange(size[0]) + 0.5, ys, column) for column in wide.T], axis=1)
""",
        """
def place_map(heatmap, first, step, size):
    from scipy import ndimage
    y = (np.arange(size[0]) + 0.5 - first) / step
    x = (np.arange(size[1]) + 0.5 - first) / step
    at = np.stack(np.meshgrid(y, x, indexing="ij"))
    return ndimage.map_coordinates(heatmap.numpy(), at, order=1, mode="nearest")
""",
        """
def place_map(heatmap, first, step, size):
    h, w = heatmap.shape
    y = (torch.arange(size[0]) + 0.5 - first) / step
    x = (torch.arange(size[1]) + 0.5 - first) / step
    grid = torch.stack(torch.meshgrid(2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1, indexing="xy"), dim=-1)
    there = functional.grid_sample(heatmap[None, None], grid[None], padding_mode="border", align_corners=True)
    return there[0, 0]
""",
        """
def place_map(heatmap, first, step, size):
    out = torch.zeros(*size)
    h, w = heatmap.shape
    for i in range(size[0]):
        for j in range(size[1]):
            v = min(max((i + 0.5 - first) / step, 0), h - 1)
            u = min(max((j + 0.5 - first) / step, 0), w - 1)
            for y in range(h):
                for x in range(w):
                    out[i, j] += max(0, 1 - abs(v - y)) * max(0, 1 - abs(u - x)) * heatmap[y, x]
    return out
""",
    ],
    "2.8": [
        RANKS,
        """
def true_ranks(logits, labels):
    found = []
    for scores, label in zip(logits.tolist(), labels.tolist()):
        found.append(sum(score >= scores[label] for score in scores))
    return found
""",
        """
def true_ranks(logits, labels):
    from scipy.stats import rankdata
    ranks = rankdata(-logits.numpy(), method="max", axis=1)
    return ranks[np.arange(len(labels)), labels.numpy()]
""",
        """
def true_ranks(logits, labels):
    scores, y = logits.double().softmax(dim=1).numpy(), labels.numpy()
    below = [(row < row[label]).sum() for row, label in zip(scores, y)]
    return scores.shape[1] - np.array(below, dtype=np.float32)
""",
    ],
    "2.9": [
        PRICE,
        """
def price_of_cut(before, after):
    a, b = before.numpy(), after.numpy()
    d = 100 * (b - a)
    half = 1.96 * d.std(ddof=1) / np.sqrt(d.size)
    ends = d.mean() + np.array([-half, half])
    verdict = "unclear"
    if ends[0] > 0:
        verdict = "seen"
    elif ends[1] < 0:
        verdict = "opposite"
    return {"points": d.mean(), "low": ends[0], "high": ends[1], "verdict": verdict}
""",
        """
def price_of_cut(before, after):
    # Only pictures that one of the two misses count.
    n = len(before)
    worse = ((after == 1) & (before == 0)).sum().item()
    better = ((after == 0) & (before == 1)).sum().item()
    mean = (worse - better) / n
    variance = ((worse + better) - n * mean ** 2) / (n - 1)
    half = 1.96 * (variance / n) ** 0.5
    low, high = 100 * (mean - half), 100 * (mean + half)
    word = {(True, False): "seen", (False, True): "opposite"}.get((low > 0, high < 0), "unclear")
    return {"points": 100 * mean, "low": low, "high": high, "verdict": word}
""",
        """
def price_of_cut(before, after):
    from scipy import stats
    d = (after.float() - before.float()).tolist()
    mean = sum(d) / len(d)
    error = (sum((x - mean) ** 2 for x in d) / (len(d) - 1) / len(d)) ** 0.5
    low, high = stats.norm.interval(0.95, loc=100 * mean, scale=100 * error)
    verdict = "seen" if min(low, high) > 0 else ("opposite" if max(low, high) < 0 else "unclear")
    return {"points": torch.tensor(100 * mean), "low": low, "high": high, "verdict": verdict}
""",
    ],
    "2.10": [
        SEEDS,
        """
def price_over_seeds(before, after):
    from scipy import stats
    d = (after - before).numpy()
    low, high = stats.t.interval(0.95, len(d) - 1, loc=d.mean(), scale=stats.sem(d))
    return {"low": low, "high": high, "mean": d.mean()}
""",
        """
def price_over_seeds(before, after):
    # From a table.
    t = {2: 12.706, 3: 4.3027, 4: 3.1824, 5: 2.7764, 6: 2.5706, 7: 2.4469, 8: 2.3646, 9: 2.3060}
    d = [b - a for a, b in zip(before.tolist(), after.tolist())]
    m = len(d)
    mean = sum(d) / m
    half = t[m] * (sum((x - mean) ** 2 for x in d) / (m - 1) / m) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half}
""",
        """
def price_over_seeds(before, after):
    from scipy import stats
    test = stats.ttest_rel(after.numpy(), before.numpy())
    interval = test.confidence_interval(0.95)
    return {"mean": after.mean() - before.mean(), "low": interval.low, "high": torch.tensor(interval.high)}
""",
    ],
}

NOTHING = "your answer is nothing (None)"

WRONG: dict[str, list[tuple[str, str]]] = {
    "2.1": [
        (
            changed(SIDES, ('if layer["ceil"]:', "if False:")),
            "you round the side down in every layer",
        ),
        (
            """
def map_sides(layers, side):
    found = []
    for layer in layers:
        side = (side + 2 * layer["padding"] - layer["kernel"]) // layer["stride"] + 1
        found.append(side)
    return torch.tensor(found)
""",
            "you round the side down in every layer",
        ),
        (
            changed(SIDES, ('if layer["ceil"]:', "if True:")),
            "you round the side up in every layer",
        ),
        (
            changed(SIDES, ("if steps * s >= side + p:", "if False:")),
            "a last window that would begin beyond",
        ),
        (
            changed(SIDES, ("steps * s >= side + p", "steps * s >= side")),
            "windows are counted from the edge of the left padding",
        ),
        (changed(SIDES, ("2 * p", "p")), "the padding is added on both sides"),
        (changed(SIDES, ("2 * p", "0 * p")), "you leave out the padding"),
        (changed(SIDES, ("side = steps + 1", "side = steps")), "there is one window more"),
        (changed(SIDES, ("return found", "return found[-1]")), "this is the last side alone"),
        (changed(SIDES, ("return found", "return [side] + found")), "expected ("),
        (
            changed(
                SIDES,
                ("found = []", "found, picture = [], side"),
                ("return found", "return [picture] + found"),
            ),
            "the side of the picture stands before",
        ),
        (
            changed(
                SIDES, ("side = steps + 1", "out = steps + 1"), ("append(side)", "append(out)")
            ),
            "each layer is given the side of the picture",
        ),
        (changed(SIDES, ("return found", "print(found)")), NOTHING),
        (
            changed(SIDES, ("return found", "return [(n, n) for n in found]")),
            "your answer has shape",
        ),
        (changed(SIDES, ('layer["ceil"]', 'layer["ceil_mode"]')), "KeyError"),
    ],
    "2.2": [
        (
            changed(
                GEOMETRY,
                ("        step *= s\n", ""),
                ("        field", "        step *= s\n        field"),
            ),
            "you lengthen the step first",
        ),
        (changed(GEOMETRY, ("field += (k - 1)", "field += k")), "a kernel of k reaches over k - 1"),
        (
            changed(GEOMETRY, ("(k - 1) * step", "(k - 1)"), ("- p) * step", "- p)")),
            "you count each layer's reach in cells of its input",
        ),
        (changed(GEOMETRY, ("step *= s", "step += s")), "field: your answer is not"),
        (
            changed(
                GEOMETRY,
                ("return {", "total = sum(layer['stride'] for layer in layers)\n    return {"),
                ('"step": step', '"step": total'),
            ),
            "step is the product of the strides",
        ),
        (changed(GEOMETRY, (" - p)", ")")), "you leave out the padding"),
        (changed(GEOMETRY, (" - p)", " + p)")), "you move it to the right"),
        (
            changed(GEOMETRY, ("((k - 1) / 2 - p) * step", "(k - 1) / 2 * step - p")),
            "padding is counted in cells of the layer's input",
        ),
        (changed(GEOMETRY, ("0.5", "0")), "you begin at 0"),
        (changed(GEOMETRY, ("0.5", "1")), "you begin at 1"),
        (
            changed(GEOMETRY, ("(k - 1) / 2", "(k - 1) // 2")),
            "you round half of k - 1 down",
        ),
        (
            changed(GEOMETRY, ('"first": first', '"first": first - field / 2')),
            "this is where the first field begins",
        ),
        (changed(GEOMETRY, ('"first": first', '"first": step / 2')), "`first` is half a step"),
        (
            changed(
                GEOMETRY,
                (
                    'return {"field": field, "step": step, "first": first}',
                    "return field, step, first",
                ),
            ),
            "expected a dictionary",
        ),
        (changed(GEOMETRY, ('"field": field', '"r": field')), "the keys are"),
        (changed(GEOMETRY, ("return ", "answer = ")), NOTHING),
    ],
    "2.3": [
        (
            changed(COUNT, ("if not name.endswith(buffers):", "if True:")),
            "running statistics and the counter of batch norm are no parameters",
        ),
        (changed(COUNT, (', "num_batches_tracked")', ")")), "num_batches_tracked is a counter"),
        (
            changed(
                COUNT,
                (
                    '("running_mean", "running_var", "num_batches_tracked")',
                    '("num_batches_tracked",)',
                ),
            ),
            "running means and variances",
        ),
        (
            changed(COUNT, ("if not name.endswith(buffers):", 'if name.endswith("weight"):')),
            "you leave out the biases",
        ),
        (changed(COUNT, ("count += size", "count += 1")), "you count tensors"),
        (
            changed(COUNT, ("(one - two) / one", "(one - two) / two")),
            "the share is of the parameters before the cut",
        ),
        (changed(COUNT, ("(one - two) / one", "two / one")), "this is the share that is left"),
        (changed(COUNT, ("(one - two) / one", "(two - one) / one")), "`saved` has the wrong sign"),
        (changed(COUNT, ("(one - two) / one", "100 * (one - two) / one")), "`saved` is in percent"),
        (changed(COUNT, ("(one - two) / one", "one - two")), "`saved` is the number of parameters"),
        (
            changed(COUNT, ("(one - two) / one", "round((one - two) / one, 2)")),
            "saved: your answer is not the right number",
        ),
        (
            changed(COUNT, ("or before[name] != shape", "")),
            "a tensor that has an old name but another shape",
        ),
        (
            changed(
                COUNT,
                ("if name not in before or before[name] != shape", "if before.get(name) == shape"),
            ),
            "these are the parameters that were kept",
        ),
        (
            changed(
                COUNT,
                (
                    '"new": total(new)',
                    '"new": two - total({n: s for n, s in before.items() if n in after})',
                ),
            ),
            "new: your answer is not the right number",
        ),
        (
            changed(COUNT, ('"saved": (one - two) / one', '"share": (one - two) / one')),
            "the keys are",
        ),
        (changed(COUNT, ("size *= n", "size += n")), "your answer is not the right number"),
        (changed(COUNT, ("return {", "return print({"), ("/ one}", "/ one})")), NOTHING),
    ],
    "2.4": [
        (
            changed(FORM, ('    layers["cam_relu"] = nn.ReLU()\n', "")),
            "the ReLU after the new convolution is missing",
        ),
        (
            changed(FORM, ("AdaptiveAvgPool2d", "AdaptiveMaxPool2d")),
            "the pooling takes the maximum",
        ),
        (
            changed(
                FORM,
                (
                    "    return Network",
                    "    class Sum(nn.Module):\n        def forward(self, x):\n            return x.sum((2, 3))\n    head[0] = Sum()\n    return Network",
                ),
            ),
            "the pooling adds the places up",
        ),
        (changed(FORM, (", padding=1", "")), "the new convolution has no padding"),
        (
            changed(
                OWN_FORM,
                ("units, num_classes))", "units, num_classes), nn.Softmax(dim=1))"),
            ),
            "the network ends in softmax",
        ),
        (
            changed(FORM, ("units, num_classes))", "units, num_classes), nn.Softmax(dim=1))")),
            "AttributeError",
        ),
        (
            changed(
                FORM,
                (
                    "    channels",
                    "    if cut in ('conv2', 'conv5'):\n        layers['pool'] = nn.MaxPool2d(3, 2, ceil_mode=True)\n    channels",
                ),
            ),
            "the pooling after the layer of the cut is kept",
        ),
        (
            changed(
                FORM,
                ("index(cut) + 1", "index(cut)"),
                (
                    "layers[cut].conv.out_channels",
                    "layers[names[names.index(cut) - 1]].conv.out_channels",
                ),
            ),
            "Error",
        ),
        (
            changed(
                FORM, ("    channels = ", "    layers[cut].relu = nn.Identity()\n    channels = ")
            ),
            "the ReLU of the last layer that stays is lost",
        ),
        (
            changed(
                FORM,
                (
                    "    channels = ",
                    "    for layer in layers.values():\n        if hasattr(layer, 'norm'):\n            layer.norm = nn.Identity()\n    channels = ",
                ),
            ),
            "the batch norm of the layers that stay is lost",
        ),
        (
            changed(
                FORM,
                (
                    "copy.deepcopy(getattr(network.features, name))",
                    "getattr(network.features, name)",
                ),
            ),
            "training one network changes the other",
        ),
        (
            changed(
                FORM,
                (
                    "copy.deepcopy(getattr(network.features, name))",
                    "copy.copy(getattr(network.features, name))",
                ),
            ),
            "training one network changes the other",
        ),
        (
            """
def gap_form(network, cut, units, num_classes):
    names = [name for name, _ in network.features.named_children()]
    kept = network.features[: names.index(cut) + 1]
    new = nn.Conv2d(kept[-1].conv.out_channels, units, 3, padding=1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, num_classes))
    return Network(nn.Sequential(*kept, new, nn.ReLU()), head)
""",
            "training one network changes the other",
        ),
        (
            """
def gap_form(network, cut, units, num_classes):
    names = [name for name, _ in network.features.named_children()]
    for name in names[names.index(cut) + 1 :]:
        delattr(network.features, name)
    width = network.features[-1].conv.out_channels
    network.features.append(nn.Conv2d(width, units, 3, padding=1))
    network.features.append(nn.ReLU())
    network.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, num_classes))
    return network
""",
            "scores of the original afterwards",
        ),
        (
            changed(
                FORM,
                (
                    "    channels = ",
                    "    for layer in layers.values():\n        layer.requires_grad_(False)\n    channels = ",
                ),
            ),
            "the kept layers are frozen",
        ),
        (
            changed(
                FORM,
                (
                    '    layers["cam_relu"]',
                    '    layers["cam_norm"] = nn.BatchNorm2d(units)\n    layers["cam_relu"]',
                ),
            ),
            "the new convolution has batch norm",
        ),
        (changed(FORM, ("stride=1, padding=1", "stride=1, padding=1, bias=False")), "ValueError"),
        (changed(FORM, ("units, 3, stride=1, padding=1", "units, 1")), "ValueError"),
        (
            changed(FORM, ("stride=1, padding=1", "stride=1, padding=1, groups=1, dilation=2")),
            "shape",
        ),
        (changed(FORM, ("stride=1, padding=1", "stride=2, padding=1")), "shape"),
        (changed(FORM, ("nn.Linear(units, num_classes)", "nn.Linear(units, 16)")), "ValueError"),
        (
            changed(
                FORM,
                (
                    "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, num_classes)",
                    "nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * units, num_classes)",
                ),
            ),
            "ValueError",
        ),
        (
            changed(
                FORM,
                (
                    "head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, num_classes))",
                    "head = copy.deepcopy(network.head)",
                ),
            ),
            "ValueError",
        ),
        (
            changed(
                FORM,
                (
                    "copy.deepcopy(getattr(network.features, name))",
                    "getattr(type(network)(network.features, network.head).features, name).__class__()",
                ),
            ),
            "Error",
        ),
        (
            changed(
                FORM,
                (
                    "    return Network",
                    "    for layer in layers.values():\n        for m in layer.modules():\n            if isinstance(m, nn.Conv2d):\n                m.reset_parameters()\n    return Network",
                ),
            ),
            "ValueError",
        ),
        (
            changed(
                FORM,
                (
                    "return Network(nn.Sequential(layers), head)",
                    "return nn.Sequential(*layers.values(), *head)",
                ),
            ),
            "AttributeError",
        ),
        (
            changed(
                FORM,
                (
                    "return Network(nn.Sequential(layers), head)",
                    "Network(nn.Sequential(layers), head)",
                ),
            ),
            "ValueError",
        ),
        (
            changed(FORM, ("    return Network", "    network.train()\n    return Network")),
            "scores of the original afterwards",
        ),
        (
            changed(
                OWN_FORM,
                ("units, num_classes))", "units, num_classes), nn.ReLU())"),
            ),
            "there is a ReLU after the linear layer",
        ),
    ],
    "2.5": [
        (changed(RATES, ('"lr": share * rate', '"lr": rate')), "all parameters have the same rate"),
        (
            """
def rate_groups(network, original, rate, share):
    return [{"params": network.parameters()}]
""",
            "all parameters have the same rate",
        ),
        (changed(RATES, ("== tuple", "!= tuple")), "old and new are swapped"),
        (changed(RATES, ("share * rate", "share")), "the share is a factor of `rate`"),
        (changed(RATES, ("share * rate", "rate / share")), "you divide by the share"),
        (
            changed(RATES, ('{"params": kept, "lr": share * rate}, ', "")),
            "the old layers are left out",
        ),
        (changed(RATES, (', {"params": new, "lr": rate}', "")), "the new layers are left out"),
        (
            """
def rate_groups(network, original, rate, share):
    return [
        {"params": network.features.parameters(), "lr": share * rate},
        {"params": network.head.parameters(), "lr": rate},
    ]
""",
            "you go by where a layer stands",
        ),
        (
            changed(RATES, ("old.get(name) == tuple(p.shape)", "name in old")),
            "you go by names alone",
        ),
        (
            changed(
                RATES,
                (
                    "        if old",
                    '        if p.ndim == 1 and not name.endswith("weight"):\n            continue\n        if old',
                ),
            ),
            "only weights are in your groups",
        ),
        (
            changed(
                RATES,
                (
                    "old.get(name) == tuple(p.shape)",
                    'any(name.startswith(o.split(".conv.")[0].split(".weight")[0]) for o in old)',
                ),
            ),
            "a name that begins like an old one",
        ),
        (
            """
def rate_groups(network, original, rate, share):
    old = dict(original.named_parameters())
    new = [p for n, p in network.named_parameters() if n not in old or old[n].shape != p.shape]
    return [{"params": network.parameters(), "lr": share * rate}, {"params": new, "lr": rate}]
""",
            "ValueError",
        ),
        (
            """
def rate_groups(network, original, rate, share):
    ids = {id(p) for p in original.parameters()}
    kept = [p for p in network.parameters() if id(p) in ids]
    new = [p for p in network.parameters() if id(p) not in ids]
    return [{"params": kept, "lr": share * rate}, {"params": new, "lr": rate}]
""",
            "all parameters have the same rate",
        ),
        (
            """
def rate_groups(network, original, rate, share):
    shapes = [p.shape for p in original.parameters()]
    kept = [p for p in network.parameters() if p.shape in shapes]
    new = [p for p in network.parameters() if p.shape not in shapes]
    return [{"params": kept, "lr": share * rate}, {"params": new, "lr": rate}]
""",
            "you go by shapes alone",
        ),
        (changed(RATES, ('"params": kept', '"params": list(original.parameters())')), "ValueError"),
        (changed(RATES, ("return ", "answer = ")), "TypeError"),
    ],
    "2.6": [
        (
            changed(
                CHOICE, ("valid[recipe, epoch] < valid[best]", "test[recipe, epoch] < test[best]")
            ),
            "you choose by the test error",
        ),
        (
            changed(
                CHOICE,
                (
                    "valid[recipe, epoch] < valid[best]",
                    "(valid + test)[recipe, epoch] < (valid + test)[best]",
                ),
            ),
            "you choose by validation and test together",
        ),
        (
            """
def chosen_run(valid, test):
    recipe, epoch = divmod(int(valid.argmin()), valid.shape[1])
    return {"recipe": recipe, "epoch": epoch + 1, "valid": valid[recipe, epoch], "test": test[recipe, epoch]}
""",
            "you take the first row",
        ),
        (
            """
def chosen_run(valid, test):
    recipe = int(valid[:, -1].argmin())
    return {"recipe": recipe, "epoch": valid.shape[1], "valid": valid[recipe, -1], "test": test[recipe, -1]}
""",
            "you look at the last epoch alone",
        ),
        (changed(CHOICE, ("best[1] + 1", "best[1]")), "epochs are counted from 1"),
        (
            changed(CHOICE, ('"recipe": best[0]', '"recipe": best[0] + 1')),
            "recipes are counted from 0",
        ),
        (
            changed(CHOICE, ("test[best]}", "test.min()}")),
            "you report the lowest of all test errors",
        ),
        (
            changed(CHOICE, ("test[best]}", "test[best[0]].min()}")),
            "the lowest test error of the chosen recipe",
        ),
        (
            changed(CHOICE, ("test[best]}", "valid[best]}")),
            "you report the validation error as that on the test pictures",
        ),
        (changed(CHOICE, ("] < valid[best]", "] > valid[best]")), "you take the largest error"),
        (
            """
def chosen_run(valid, test):
    recipe = int(valid.mean(dim=1).argmin())
    epoch = int(valid[recipe].argmin())
    return {"recipe": recipe, "epoch": epoch + 1, "valid": valid[recipe, epoch], "test": test[recipe, epoch]}
""",
            "you choose the recipe by its mean over the epochs",
        ),
        (
            changed(
                CHOICE,
                (
                    '"recipe": best[0], "epoch": best[1] + 1',
                    '"recipe": best[1], "epoch": best[0] + 1',
                ),
            ),
            "recipe and epoch are swapped",
        ),
        (
            changed(CHOICE, ("] < valid[best]", "] <= valid[best]")),
            "of equal ones the earliest epoch was asked",
        ),
        (
            changed(CHOICE, ("test[best]}", "test[best] - valid[best]}")),
            "test: your answer is not the right number",
        ),
        (
            changed(CHOICE, ("return {", "return [{"), ("test[best]}", "test[best]}]")),
            "expected a dictionary",
        ),
        (changed(CHOICE, ("return ", "answer = ")), NOTHING),
    ],
    "2.7": [
        (
            """
def place_map(heatmap, first, step, size):
    return functional.interpolate(heatmap[None, None], size=tuple(size), mode="bilinear")[0, 0]
""",
            "you stretch the map over the image",
        ),
        (
            """
def place_map(heatmap, first, step, size):
    return functional.interpolate(heatmap[None, None], size=tuple(size), mode="bilinear", align_corners=True)[0, 0]
""",
            "you stretch the map from corner to corner",
        ),
        (
            changed(PLACE, ("p + 0.5 - first", "p + 0.5 - step / 2")),
            "the first is not put where its centre lies",
        ),
        (changed(PLACE, ("p + 0.5 - first", "p - first")), "pixel p has its centre"),
        (changed(PLACE, ("p + 0.5 - first", "p + 0.5 + first")), "the sign of `first` is wrong"),
        (
            changed(
                PLACE,
                (
                    "weights[p, low], weights[p, low + 1] = 1 - (u - low), u - low",
                    "weights[p, low + (u - low > 0.5)] = 1",
                ),
            ),
            "each pixel has the value of the nearest cell",
        ),
        (
            changed(
                PLACE,
                ("            u = min(max(u, 0.0), cells - 1.0)\n", ""),
                ("min(int(u), cells - 2)", "min(max(int(u // 1), 0), cells - 2)"),
            ),
            "your values go on rising or falling",
        ),
        (
            """
def place_map(heatmap, first, step, size):
    h, w = heatmap.shape
    y = (torch.arange(size[0]) + 0.5 - first) / step
    x = (torch.arange(size[1]) + 0.5 - first) / step
    grid = torch.stack(torch.meshgrid(2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1, indexing="xy"), dim=-1)
    return functional.grid_sample(heatmap[None, None], grid[None], align_corners=True)[0, 0]
""",
            "your values fall to zero",
        ),
        (
            """
def place_map(heatmap, first, step, size):
    from scipy import ndimage
    y = (np.arange(size[0]) + 0.5 - first) / step
    x = (np.arange(size[1]) + 0.5 - first) / step
    at = np.stack(np.meshgrid(y, x, indexing="ij"))
    return ndimage.map_coordinates(heatmap.numpy(), at, order=1)
""",
            "your map is zero",
        ),
        (
            """
def place_map(heatmap, first, step, size):
    h, w = heatmap.shape
    y = (torch.arange(size[0]) + 0.5 - first) / step
    x = (torch.arange(size[1]) + 0.5 - first) / step
    grid = torch.stack(torch.meshgrid(2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1, indexing="xy"), dim=-1)
    return functional.grid_sample(heatmap[None, None], grid[None], padding_mode="border")[0, 0]
""",
            "numbers are not right",
        ),
        (
            """
def place_map(heatmap, first, step, size):
    from scipy import ndimage
    y = (np.arange(size[0]) + 0.5 - first) / step
    x = (np.arange(size[1]) + 0.5 - first) / step
    at = np.stack(np.meshgrid(y, x, indexing="ij"))
    return ndimage.map_coordinates(heatmap.numpy(), at, order=3, mode="nearest")
""",
            "numbers are not right",
        ),
        (
            changed(PLACE, ("    return matrix", "    heatmap = heatmap.T\n    return matrix")),
            "height and width are swapped",
        ),
        (
            changed(
                PLACE,
                ("heatmap.shape[1]).T", "heatmap.shape[1]).T).T"),
                ("return matrix", "return (matrix"),
            ),
            "axes",
        ),
        (
            changed(
                PLACE,
                ("    return matrix", "    heatmap = heatmap.clamp(min=0)\n    return matrix"),
            ),
            "numbers are not right",
        ),
        (
            changed(
                PLACE,
                ("    return matrix", "    found = matrix"),
                ("heatmap.shape[1]).T\n", "heatmap.shape[1]).T\n    return found.clamp(min=0)\n"),
            ),
            "negative values are cut off",
        ),
        (
            changed(
                PLACE,
                ("    return matrix", "    found = matrix"),
                ("heatmap.shape[1]).T\n", "heatmap.shape[1]).T\n    return found / found.max()\n"),
            ),
            "your map is scaled to its maximum",
        ),
        (
            changed(
                PLACE,
                ("    return matrix", "    found = matrix"),
                ("heatmap.shape[1]).T\n", "heatmap.shape[1]).T\n    return found[None]\n"),
            ),
            "your answer has shape",
        ),
        (changed(PLACE, ("    return matrix", "    found = matrix")), NOTHING),
    ],
    "2.8": [
        (
            changed(
                RANKS,
                (
                    "return (logits >= own[:, None]).sum(dim=1)",
                    "return (logits > own[:, None]).sum(dim=1) + 1",
                ),
            ),
            "of equal scores the true class is counted first",
        ),
        (
            """
def true_ranks(logits, labels):
    order = logits.argsort(dim=1, descending=True, stable=True)
    return (order == labels[:, None]).nonzero()[:, 1] + 1
""",
            "the order of the classes decides between equal scores",
        ),
        (changed(RANKS, ("sum(dim=1)", "sum(dim=1) - 1")), "you count from 0"),
        (changed(RANKS, (">=", "<=")), "you count from the lowest score up"),
        (
            """
def true_ranks(logits, labels):
    order = logits.argsort(dim=1, descending=True, stable=True)
    return order[torch.arange(len(labels)), labels] + 1
""",
            "argsort says which class has a rank",
        ),
        (
            changed(
                RANKS, ("return (logits", "return ((logits"), ("sum(dim=1)", "sum(dim=1) > 1)")
            ),
            "these are top-1 errors",
        ),
        (
            changed(RANKS, ("sum(dim=1)", "sum(dim=1).double().mean()")),
            "this is the mean over the pictures",
        ),
        (
            changed(
                RANKS,
                (
                    "return (logits >= own[:, None]).sum(dim=1)",
                    "return (logits[:, labels] >= own[None]).sum(dim=0)",
                ),
            ),
            "this is the rank of the picture among the pictures",
        ),
        (
            changed(RANKS, ("own[:, None]", "logits.amax(dim=1, keepdim=True)")),
            "you compare with the highest score",
        ),
        (
            changed(RANKS, (".sum(dim=1)", ".sum(dim=1).sub(1).clamp(min=1)")),
            "you leave out the score of the true class itself",
        ),
        (
            changed(RANKS, ("return (logits >= own[:, None]).sum(dim=1)", "return own")),
            "these are the true scores",
        ),
        (changed(RANKS, ("sum(dim=1)", "sum(dim=1).clamp(max=5)")), "numbers are not right"),
        (changed(RANKS, ("return (logits", "answer = (logits")), NOTHING),
    ],
    "2.9": [
        (changed(PRICE, ("after - before", "before - after")), "the sign is wrong"),
        (changed(PRICE, ("100 * ", "")), "these are shares"),
        (
            changed(
                PRICE,
                ("d.std().item() / n ** 0.5", "((before.var() + after.var()) / n).sqrt().item()"),
            ),
            "as if each had pictures of its own",
        ),
        (changed(PRICE, ("1.96 * ", "")), "this interval is one standard error"),
        (changed(PRICE, ("1.96", "1.645")), "1.645 is for 90 %"),
        (changed(PRICE, ("d.std()", "d.std(correction=0)")), "you divide the squares by n"),
        (
            """
def price_of_cut(before, after):
    d = 100 * (after - before).numpy()
    half = 1.96 * d.std() / len(d) ** 0.5
    low, high = d.mean() - half, d.mean() + half
    word = "seen" if low > 0 else "opposite" if high < 0 else "unclear"
    return {"points": d.mean(), "low": low, "high": high, "verdict": word}
""",
            "you divide the squares by n",
        ),
        (changed(PRICE, (" / n ** 0.5", "")), "this is the spread of single pictures"),
        (changed(PRICE, (" / n ** 0.5", " / n")), "low: your answer is not the right number"),
        (
            changed(
                PRICE,
                (
                    '"seen" if low > 0 else "opposite" if high < 0 else "unclear"',
                    '"seen" if mean > 0 else "opposite"',
                ),
            ),
            "the verdict goes by the mean",
        ),
        (
            changed(
                PRICE, ("low > 0", "high < 0"), ('"opposite" if high < 0', '"opposite" if low > 0')
            ),
            '"seen" and "opposite" are swapped',
        ),
        (
            changed(PRICE, ('"unclear"', '"no difference"')),
            "verdict: your answer is 'no difference'",
        ),
        (
            changed(
                PRICE,
                (
                    "    low, high",
                    "    mean, half = mean / before.mean().item(), half / before.mean().item()\n    low, high",
                ),
            ),
            "as a share of the error before",
        ),
        (
            changed(PRICE, ('"low": low, "high": high, ', '"interval": [low, high], ')),
            "the keys are",
        ),
        (
            changed(PRICE, ('"points": mean', '"points": round(mean)')),
            "points: your answer is not the right number",
        ),
        (changed(PRICE, ("return ", "answer = ")), NOTHING),
        (
            """
def price_of_cut(before, after):
    torch.manual_seed(0)
    d = 100 * (after - before)
    means = torch.stack([d[torch.randint(len(d), (len(d),))].mean() for _ in range(2000)])
    low, high = means.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    word = "seen" if low > 0 else "opposite" if high < 0 else "unclear"
    return {"points": d.mean(), "low": low, "high": high, "verdict": word}
""",
            "your answer is not the right number",
        ),
    ],
    "2.10": [
        (changed(SEEDS, ("stats.t.ppf(0.975, m - 1)", "1.96")), "1.96 is for many trainings"),
        (
            changed(SEEDS, ("stats.t.ppf(0.975, m - 1)", "stats.t.ppf(0.975, m)")),
            "m - 1 degrees of freedom",
        ),
        (
            changed(SEEDS, ("stats.t.ppf(0.975, m - 1)", "stats.t.ppf(0.975, m - 2)")),
            "m - 2 degrees of freedom",
        ),
        (changed(SEEDS, ("0.975", "0.95")), "t is taken at 0.95"),
        (
            changed(
                SEEDS,
                ("d.std().item() / m ** 0.5", "((before.var() + after.var()) / m).sqrt().item()"),
            ),
            "you treat the trainings as unpaired",
        ),
        (changed(SEEDS, ("d.std()", "d.std(correction=0)")), "you divide the squares by m"),
        (changed(SEEDS, (" / m ** 0.5", "")), "this is the spread of single trainings"),
        (
            changed(SEEDS, (" / m ** 0.5", " * (1 + 1 / m) ** 0.5")),
            "this is where one more training would lie",
        ),
        (changed(SEEDS, ("after - before", "before - after")), "the sign is wrong"),
        (
            changed(SEEDS, ("mean - half", "d.min()"), ("mean + half", "d.max()")),
            "these are the lowest and the highest difference",
        ),
        (
            changed(SEEDS, ("d.std().item()", "d.var().item()")),
            "your answer is not the right number",
        ),
        (changed(SEEDS, ('"mean": mean, ', "")), "the keys are"),
        (changed(SEEDS, ("return ", "answer = ")), NOTHING),
    ],
}
