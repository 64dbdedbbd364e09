"""Answers to problem set 4: right ones written in many ways, wrong ones and what they are told.

Those of 4.10 look into the files of the working directory, as a student does.
"""

# ruff: noqa: E501

from __future__ import annotations

# The class and the cell by where maps are brighter than in other classes.
BY_MAPS = """
def looked_up():
    import handout
    network = handout.load_network()
    images, labels = (values[::2] for values in handout.load_pictures())
    with torch.no_grad():
        features = network.forward_features(handout.normalise(images))
    maps = torch.einsum("nk,nkyx->nyx", network.classifier.weight.detach()[labels], features).relu()
    cells = maps.reshape(-1, 3, 4, 3, 4).sum(dim=(2, 4)).flatten(1)
    cells = cells / cells.sum(dim=1, keepdim=True).clamp(min=1e-9)
    mean = torch.stack([cells[labels == c].mean(dim=0) for c in range(16)])
    return divmod(int((mean - mean.mean(dim=0)).argmax()), 9)
"""

RIGHT: dict[str, list[str]] = {
    "4.1": [
        """
def saliency(network, images, classes):
    maps = []
    for image, c in zip(images, classes.tolist()):
        x = image[None].clone().requires_grad_(True)
        g = torch.autograd.grad(network(x)[0, c], x)[0]
        maps.append(g[0].abs().max(dim=0).values.tolist())
    return maps
""",
        """
def saliency(network, images, classes):
    logits, back = torch.func.vjp(network, images.clone())
    chosen = torch.nn.functional.one_hot(classes, logits.shape[1]).to(logits.dtype)
    return back(chosen)[0].abs().amax(1)
""",
        """
def saliency(network, images, classes):
    pixels = images.detach().clone()
    pixels.requires_grad = True
    scores = network(pixels)
    total = sum(scores[i, int(c)] for i, c in enumerate(classes))
    total.backward(inputs=[pixels])
    g = pixels.grad.numpy().astype(np.float64)
    return np.abs(g).max(axis=1) * (1 + 1e-6)
""",
        """
def saliency(network, images, classes):
    with torch.enable_grad():
        x = torch.from_numpy(np.array(images)).requires_grad_()
        score = network(x).gather(1, classes.view(-1, 1)).mean() * len(x)
        g, = torch.autograd.grad(score, [x])
    return torch.maximum(g.amax(1), (-g).amax(1)).double()
""",
    ],
    "4.2": [
        """
def probability_gradient(logits, gradients, classes):
    with torch.enable_grad():
        s = logits.double().requires_grad_()
        p = s.softmax(dim=1).gather(1, classes[:, None]).sum()
        (slope,) = torch.autograd.grad(p, s)
    return torch.einsum("nc,nckyx->nkyx", slope, gradients.double())
""",
        """
def probability_gradient(logits, gradients, classes):
    out = []
    for s, g, c in zip(logits.numpy(), gradients.numpy(), classes.tolist()):
        e = np.exp(s - s.max())
        p = e / e.sum()
        out.append(p[c] * sum(((j == c) - p[j]) * g[j] for j in range(len(p))))
    return np.stack(out)
""",
        """
def probability_gradient(logits, gradients, classes):
    p = torch.softmax(logits, 1)
    rows = torch.arange(len(classes))
    mean = (p[..., None, None, None] * gradients).sum(1)
    return p[rows, classes].view(-1, 1, 1, 1) * (gradients[rows, classes] - mean)
""",
        """
def probability_gradient(logits, gradients, classes):
    from scipy.special import softmax
    p = softmax(np.asarray(logits, dtype=np.float64), axis=1)
    jacobian = np.eye(p.shape[1])[None] * p[:, None, :] - p[:, :, None] * p[:, None, :]
    rows = jacobian[np.arange(len(p)), np.asarray(classes)]
    return np.tensordot(rows, np.asarray(gradients, dtype=np.float64), axes=(1, 1))[np.arange(len(p)), np.arange(len(p))]
""",
    ],
    "4.3": [
        """
def grad_cam(network, images, layer, classes):
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network(images.clone().requires_grad_())
            score = logits[torch.arange(len(images)), classes].sum()
            g = torch.autograd.grad(score, kept[0])[0]
    finally:
        handle.remove()
    alpha = g.mean((2, 3), keepdim=True)
    return torch.relu((alpha * kept[0].detach()).sum(1))
""",
        """
def grad_cam(network, images, layer, classes):
    module = dict(network.named_modules())[layer]
    maps = []
    for image, c in zip(images, classes.tolist()):
        cut = {}

        def start(_, __, output):
            cut["a"] = output.detach().clone().requires_grad_(True)
            return cut["a"] * 1

        handle = module.register_forward_hook(start)
        with torch.set_grad_enabled(True):
            score = network(image[None])[0, c]
        handle.remove()
        score.backward(inputs=[cut["a"]])
        a, g = cut["a"].detach().double().numpy()[0], cut["a"].grad.double().numpy()[0]
        maps.append(np.maximum(0, np.tensordot(g.mean(axis=(1, 2)), a, axes=1)))
    return np.stack(maps)
""",
        """
def grad_cam(network, images, layer, classes):
    values = {}

    def forward(module, inputs, output):
        values["a"] = output.detach().clone()
        output = output.clone()
        output.register_hook(lambda g: values.update(g=g.clone()))
        return output

    handle = network.get_submodule(layer).register_forward_hook(forward)
    with torch.enable_grad():
        x = images.clone().requires_grad_()
        logits = network(x)
        torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), x)
    handle.remove()
    weight = values["g"].flatten(2).mean(2)
    return torch.einsum("nk,nkhw->nhw", weight, values["a"]).clamp(min=0).float().tolist()
""",
        """
def grad_cam(network, images, layer, classes):
    # The layer's output is moved a little, as a variable of its own.
    module, outputs = network.get_submodule(layer), []
    handle = module.register_forward_hook(lambda m, i, o: outputs.append(o.clone()))
    with torch.no_grad():
        network(images)
    handle.remove()
    zero = torch.zeros_like(outputs[0]).requires_grad_()
    handle = module.register_forward_hook(lambda m, i, o: o + zero)
    with torch.enable_grad():
        logits = network(images)
        total = (logits * torch.nn.functional.one_hot(classes, logits.shape[1])).sum()
    handle.remove()
    (g,) = torch.autograd.grad(total, zero)
    heat = torch.zeros(len(images), *g.shape[2:], dtype=torch.float64)
    for k in range(g.shape[1]):
        heat += g[:, k].double().mean((1, 2))[:, None, None] * outputs[0][:, k]
    return heat.clamp_min(0)
""",
    ],
    "4.4": [
        """
def cam_from_gradients(activations, gradients, pooling):
    n, k, h, w = activations.shape
    factor = {"mean": h * w, "sum": 1, "max": h * w}[pooling]
    return torch.einsum("nk,nkhw->nhw", factor * gradients.mean((2, 3)), activations)
""",
        """
def cam_from_gradients(activations, gradients, pooling):
    a, g = activations.numpy().astype(float), gradients.numpy().astype(float)
    if pooling == "mean":
        w = g[:, :, 0, 0] * a.shape[2] * a.shape[3]
    elif pooling == "sum":
        w = g[:, :, 0, 0]
    else:
        w = np.where(np.abs(g.max((2, 3))) > np.abs(g.min((2, 3))), g.max((2, 3)), g.min((2, 3)))
    return (w[:, :, None, None] * a).sum(axis=1)
""",
        """
def cam_from_gradients(activations, gradients, pooling):
    maps = torch.zeros(len(activations), *activations.shape[2:], dtype=torch.float64)
    for i in range(len(activations)):
        for a, g in zip(activations[i], gradients[i]):
            weight = g.flatten()[-1] if pooling == "sum" else g.sum()
            maps[i] += float(weight) * a
    return maps.tolist()
""",
    ],
    "4.6": [
        """
def cascade(names, tensors, orders):
    layers = []
    for name in names:
        layer = name[: name.rindex(".")]
        if layer not in layers:
            layers.append(layer)
    stages = [[t.numpy() for t in tensors]]
    for layer in reversed(layers):
        new = []
        for name, tensor, order in zip(names, stages[-1], orders):
            of_layer = name.startswith(layer + ".") and "running" not in name
            new.append(tensor.ravel()[order.numpy()].reshape(tensor.shape) if of_layer else tensor)
        stages.append(new)
    return stages
""",
        """
def cascade(names, tensors, orders):
    owner = [n.rsplit(".", 1)[0] for n in names]
    fresh = [
        t.clone() if n.rsplit(".", 1)[1].startswith("running") else t.reshape(-1)[o].view(t.shape)
        for n, t, o in zip(names, tensors, orders)
    ]
    unique = sorted(set(owner), key=owner.index)
    return [
        [fresh[i] if unique.index(owner[i]) >= len(unique) - s else tensors[i] for i in range(len(names))]
        for s in range(len(unique) + 1)
    ]
""",
        """
def cascade(names, tensors, orders):
    import copy
    now = [t.double() for t in tensors]
    stages, seen = [copy.deepcopy(now)], []
    for name in names[::-1]:
        layer = ".".join(name.split(".")[:-1])
        if layer in seen:
            continue
        seen.append(layer)
        for i, other in enumerate(names):
            if other.split(".")[:-1] == layer.split(".") and other.split(".")[-1] in ("weight", "bias"):
                flat = now[i].flatten().tolist()
                now[i] = torch.tensor([flat[j] for j in orders[i].tolist()]).reshape(now[i].shape)
        stages.append(copy.deepcopy(now))
    return tuple(stages)
""",
    ],
    "4.7": [
        """
def deletion_area(score, image, fill, order, steps):
    left = image.clone()
    values = [score(left)]
    for share in order.chunk(steps):
        y, x = share // image.shape[2], share % image.shape[2]
        left[:, y, x] = fill[:, y, x]
        values.append(score(left))
    return sum((a + b) / 2 for a, b in zip(values, values[1:])) / steps
""",
        """
def deletion_area(score, image, fill, order, steps):
    rank = order.argsort().reshape(image.shape[1:])
    curve = []
    for step in range(steps + 1):
        gone = rank < step * order.numel() // steps
        curve.append(score(torch.where(gone, fill, image)))
    return torch.trapezoid(torch.tensor(curve), dx=1 / steps)
""",
        """
def deletion_area(score, image, fill, order, steps):
    picture, other = image.numpy().copy(), fill.numpy()
    rows, columns = np.unravel_index(order.numpy(), picture.shape[1:])
    curve = np.empty(steps + 1)
    curve[0] = score(picture)
    each = len(order) // steps
    for i in range(steps):
        some = slice(i * each, (i + 1) * each)
        picture[:, rows[some], columns[some]] = other[:, rows[some], columns[some]]
        curve[i + 1] = score(torch.from_numpy(picture))
    return np.trapezoid(curve, np.linspace(0, 1, steps + 1)) if hasattr(np, "trapezoid") else np.trapz(curve, dx=1 / steps)
""",
        """
def deletion_area(score, image, fill, order, steps):
    values = []
    for step in range(steps + 1):
        picture = image.double().flatten(1)
        gone = order[: round(step / steps * len(order))]
        picture = picture.index_copy(1, gone, fill.double().flatten(1)[:, gone])
        values.append(score(picture.view(image.shape)))
    return (sum(values) - values[0] / 2 - values[-1] / 2) / steps
""",
    ],
    "4.8": [
        """
def mass_per_cell(maps):
    n, h, w = maps.shape
    positive = np.maximum(maps.numpy().astype(float), 0)
    cells = positive.reshape(n, 3, h // 3, 3, w // 3).sum(axis=(2, 4)).reshape(n, 9)
    whole = cells.sum(axis=1, keepdims=True)
    return np.divide(cells, whole, out=np.zeros_like(cells), where=whole > 0)
""",
        """
def mass_per_cell(maps):
    result = []
    for heatmap in maps:
        heatmap = heatmap.clamp(min=0)
        total = float(heatmap.sum())
        row = []
        for rows in heatmap.chunk(3, dim=0):
            for cell in rows.chunk(3, dim=1):
                row.append(float(cell.sum()) / total if total else 0.0)
        result.append(row)
    return result
""",
        """
def mass_per_cell(maps):
    positive = torch.relu(maps.double())[:, None]
    pooled = torch.nn.functional.adaptive_avg_pool2d(positive, 3).flatten(1)
    return torch.nan_to_num(pooled / pooled.sum(1, keepdim=True))
""",
    ],
    "4.9": [
        """
def turned(before, after, labels, suspect):
    could = did = 0
    for b, a, y in zip(before.tolist(), after.tolist(), labels.tolist()):
        if y != suspect and b != suspect:
            could += 1
            did += a == suspect
    return did / could
""",
        """
def turned(before, after, labels, suspect):
    could = ~((labels == suspect) | (before == suspect))
    return (after[could] == suspect).float().mean()
""",
        """
def turned(before, after, labels, suspect):
    b, a, y = (np.asarray(v) for v in (before, after, labels))
    left = a[np.logical_and(b != suspect, y != suspect)]
    return np.count_nonzero(left == suspect) / left.size + 1e-9
""",
    ],
    "4.10": [
        BY_MAPS
        + """
def finding():
    c, cell = looked_up()
    return {"class": c, "cell": cell}
""",
        """
def finding():
    import handout
    network = handout.load_network()
    images, labels = handout.load_pictures()
    keep = torch.cat([(labels == c).nonzero().flatten()[-8:] for c in range(16)])
    pictures, labels = handout.normalise(images[keep]), labels[keep]
    drops = torch.zeros(9, len(labels))
    with torch.no_grad():
        own = network(pictures).gather(1, labels[:, None])[:, 0]
        for cell in range(9):
            covered = pictures.clone()
            rows, columns = handout.cell_of(cell)
            covered[:, :, rows, columns] = pictures.mean()
            drops[cell] = own - network(covered).gather(1, labels[:, None])[:, 0]
    mean = torch.stack([drops[:, labels == c].mean(1) for c in range(16)], dim=1)
    mean = mean - mean.median(dim=1, keepdim=True).values
    cell, c = np.unravel_index(mean.argmax(), mean.shape)
    return {"cell": cell, "class": c}
""",
        """
def finding():
    import handout
    network = handout.load_network()
    images, labels = handout.load_pictures()
    x = handout.normalise(images)
    best = (-1.0, 0, 0)
    with torch.no_grad():
        for c in range(16):
            own, others = x[labels == c][-6:], x[labels != c][:6]
            for cell in range(9):
                rows, columns = handout.cell_of(cell)
                mixed = others.clone()
                mixed[:, :, rows, columns] = own[:, :, rows, columns]
                chance = network(mixed).softmax(dim=1)[:, c].median().item()
                best = max(best, (chance, c, cell))
    return {"class": torch.tensor(best[1]), "cell": np.int32(best[2])}
""",
    ],
}

WRONG: dict[str, list[tuple[str, str]]] = {
    "4.1": [
        (
            """
def saliency(network, images, classes):
    images.requires_grad_()
    network(images).gather(1, classes[:, None]).sum().backward()
    return images.grad.abs().amax(dim=1)
""",
            "a gradient stays on the weights and on the images",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    network(x).gather(1, classes[:, None]).sum().backward()
    return x.grad.abs().amax(dim=1)
""",
            "a gradient stays on the weights, to which",
        ),
        (
            """
def saliency(network, images, classes):
    images.requires_grad_()
    score = network(images).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, images)[0].abs().amax(dim=1)
""",
            "the images that were passed now ask for a gradient",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).softmax(dim=1).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=1)
""",
            "the gradient of the probability",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(network(x), classes, reduction="sum")
    return torch.autograd.grad(loss, x)[0].abs().amax(dim=1)
""",
            "the gradient of the log-probability",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).max(dim=1).values.sum()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=1)
""",
            "the class with the highest score",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    return torch.autograd.grad(network(x).sum(), x)[0].abs().amax(dim=1)
""",
            "all scores together",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x)[:, classes[0]].sum()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=1)
""",
            "the first image's class",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].amax(dim=1)
""",
            "with the sign",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].amax(dim=1).abs()
""",
            "before the largest over the colours, not after",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().sum(dim=1)
""",
            "the colours are added up",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).mean()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=1)
""",
            "the mean over the images",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).sum()
    maps = torch.autograd.grad(score, x)[0].abs().amax(dim=1)
    return maps / maps.amax(dim=(1, 2), keepdim=True)
""",
            "divided by its own maximum",
        ),
        (
            """
def saliency(network, images, classes):
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=-1)
""",
            "your answer has shape",
        ),
        (
            """
def saliency(network, images, classes):
    network.train()
    x = images.clone().requires_grad_()
    score = network(x).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=1)
""",
            "another mode",
        ),
        (
            """
def saliency(network, images, classes):
    with torch.no_grad():
        x = images.clone().requires_grad_()
        score = network(x).gather(1, classes[:, None]).sum()
    return torch.autograd.grad(score, x)[0].abs().amax(dim=1)
""",
            "stops with RuntimeError",
        ),
    ],
    "4.2": [
        (
            """
def probability_gradient(logits, gradients, classes):
    p, rows = logits.softmax(dim=1), torch.arange(len(classes))
    return p[rows, classes][:, None, None, None] * gradients[rows, classes]
""",
            "one part of it",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    rows = torch.arange(len(classes))
    p = logits.softmax(dim=1)[rows, classes]
    return (p * (1 - p))[:, None, None, None] * gradients[rows, classes]
""",
            "P (1 - P) is the slope by the class's own score",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    p = logits.softmax(dim=1)[:, :, None, None, None]
    return gradients[torch.arange(len(classes)), classes] - (p * gradients).sum(dim=1)
""",
            "the logarithm of the probability",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    return gradients[torch.arange(len(classes)), classes]
""",
            "the gradient of the score itself",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    e = torch.exp(logits)
    p, rows = e / e.sum(dim=1, keepdim=True), torch.arange(len(classes))
    mean = (p[:, :, None, None, None] * gradients).sum(dim=1)
    return p[rows, classes][:, None, None, None] * (gradients[rows, classes] - mean)
""",
            "NaN or an infinite number",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    p, rows = logits.softmax(dim=0), torch.arange(len(classes))
    mean = (p[:, :, None, None, None] * gradients).sum(dim=1)
    return p[rows, classes][:, None, None, None] * (gradients[rows, classes] - mean)
""",
            "not over the images",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    top = logits.argmax(dim=1)
    p, rows = logits.softmax(dim=1), torch.arange(len(classes))
    mean = (p[:, :, None, None, None] * gradients).sum(dim=1)
    return p[rows, top][:, None, None, None] * (gradients[rows, top] - mean)
""",
            "the class with the highest score",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    p, rows = logits.softmax(dim=1), torch.arange(len(classes))
    mean = (p[:, :, None, None, None] * gradients).sum(dim=1)
    return p[rows, classes][:, None, None, None] * (mean - gradients[rows, classes])
""",
            "the sign is wrong",
        ),
        (
            """
def probability_gradient(logits, gradients, classes):
    p = logits.softmax(dim=1)
    mean = (p[:, :, None, None, None] * gradients).sum(dim=1)
    return p[:, classes][:, :, None, None, None] * (gradients[:, classes] - mean[:, None])
""",
            "your answer has shape",
        ),
    ],
    "4.3": [
        (
            """
def grad_cam(network, images, layer, classes):
    kept = []
    handle = network.get_submodule(layer).register_forward_hook(lambda m, i, o: kept.append(o))
    with torch.enable_grad():
        logits = network(images.clone().requires_grad_())
        (g,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[0])
    handle.remove()
    return torch.einsum("nk,nkyx->nyx", g.mean(dim=(2, 3)), kept[0].detach()).relu()
""",
            "overwritten by the in-place layer after it",
        ),
        (
            """
def grad_cam(network, images, layer, classes):
    kept, slopes = [], []

    def keep(module, inputs, output):
        kept.append(output.detach())
        output.register_hook(slopes.append)

    handle = network.get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        x = images.clone().requires_grad_()
        logits = network(x)
        torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), x)
    handle.remove()
    return torch.einsum("nk,nkyx->nyx", slopes[0].mean(dim=(2, 3)), kept[0]).relu()
""",
            "detach alone makes none",
        ),
        (
            """
def grad_cam(network, images, layer, classes):
    kept, slopes = [], []
    module = network.get_submodule(layer)
    one = module.register_forward_hook(lambda m, i, o: kept.append(o.detach().clone()))
    two = module.register_full_backward_hook(lambda m, i, o: slopes.append(o[0]))
    with torch.enable_grad():
        logits = network(images.clone().requires_grad_())
        logits.gather(1, classes[:, None]).sum().backward()
    one.remove()
    two.remove()
    return torch.einsum("nk,nkyx->nyx", slopes[0].mean(dim=(2, 3)), kept[0]).relu()
""",
            "stops with RuntimeError",
        ),
        (
            """
def grad_cam(network, images, layer, classes):
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    network.get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        logits = network(images.clone().requires_grad_())
        (g,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[0])
    return torch.einsum("nk,nkyx->nyx", g.mean(dim=(2, 3)), kept[0].detach()).relu()
""",
            "a hook stays on the network, and keeps every later output",
        ),
        (
            """
def grad_cam(network, images, layer, classes):
    kept = []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        logits = network(images.clone().requires_grad_())
        logits.gather(1, classes[:, None]).sum().backward()
    handle.remove()
    return torch.einsum("nk,nkyx->nyx", kept[0].grad.mean(dim=(2, 3)), kept[0].detach()).relu()
""",
            "a gradient stays on the weights, to which",
        ),
        (
            """
def grad_cam(network, images, layer, classes):
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    logits = network(images.clone().requires_grad_())
    handle.remove()
    (g,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[0])
    return torch.einsum("nk,nkyx->nyx", g.mean(dim=(2, 3)), kept[0].detach()).relu()
""",
            "stops with RuntimeError",
        ),
        (
            """
def grad_cam(network, images, layer, classes):
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        network.requires_grad_()
        logits = network(images)
        (g,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), kept[0])
    handle.remove()
    return torch.einsum("nk,nkyx->nyx", g.mean(dim=(2, 3)), kept[0].detach()).relu()
""",
            "weights frozen or freed",
        ),
    ],
    "4.4": [
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    return torch.einsum("nk,nkyx->nyx", gradients.mean(dim=(2, 3)), activations)
""",
            "a factor is missing",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    return torch.einsum("nk,nkyx->nyx", gradients.sum(dim=(2, 3)), activations)
""",
            "counts it once for each place",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    over = gradients.sum(dim=(2, 3)) if pooling == "mean" else gradients.mean(dim=(2, 3))
    return torch.einsum("nk,nkyx->nyx", over, activations)
""",
            "behind the maximum the factor is missing",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    over = gradients.mean(dim=(2, 3)) if pooling == "sum" else gradients.sum(dim=(2, 3))
    return torch.einsum("nk,nkyx->nyx", over, activations).relu()
""",
            "negative values were cut off",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    over = gradients[:, :, 0, 0] * (activations[0, 0].numel() if pooling == "mean" else 1)
    return torch.einsum("nk,nkyx->nyx", over, activations)
""",
            "the gradient of the first place",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    maps = (gradients * activations).sum(dim=1)
    return maps * activations[0, 0].numel() if pooling == "mean" else maps
""",
            "leaves one place of each channel",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    return (gradients * activations).sum(dim=1)
""",
            "a map weights whole channels",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    factor = 1 if pooling == "sum" else activations.shape[2]
    return torch.einsum("nk,nkyx->nyx", factor * gradients.mean(dim=(2, 3)), activations)
""",
            "not one of the sides",
        ),
        (
            """
def cam_from_gradients(activations, gradients, pooling):
    over = gradients.mean(dim=(2, 3)) if pooling == "sum" else gradients.sum(dim=(2, 3))
    return over[:, :, None, None] * activations
""",
            "your answer has shape",
        ),
    ],
    "4.6": [
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now, stages = list(tensors), [list(tensors)]
    for layer in layers:
        for i, name in enumerate(names):
            if name.rpartition(".")[0] == layer and "running" not in name:
                now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
        stages.append(list(now))
    return stages
""",
            "runs from the input up",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    stages = [list(tensors)]
    for layer in layers[::-1]:
        now = list(tensors)
        for i, name in enumerate(names):
            if name.rpartition(".")[0] == layer and "running" not in name:
                now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
        stages.append(now)
    return stages
""",
            "only one layer is shuffled in each stage",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    stages = [tensors]
    for layer in layers[::-1]:
        for i, name in enumerate(names):
            if name.rpartition(".")[0] == layer and "running" not in name:
                tensors[i].copy_(tensors[i].flatten()[orders[i]].reshape(tensors[i].shape))
        stages.append(tensors)
    return stages
""",
            "all stages are the last one",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now, stages, done = list(tensors), [list(tensors)], []
    for layer in layers[::-1]:
        done.append(layer)
        for i, name in enumerate(names):
            if name.rpartition(".")[0] in done and "running" not in name:
                now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
        stages.append(list(now))
    return stages
""",
            "shuffled once more in later stages",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now, stages = list(tensors), [list(tensors)]
    for layer in layers[::-1]:
        for i, name in enumerate(names):
            if name.rpartition(".")[0] == layer:
                now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
        stages.append(list(now))
    return stages
""",
            "running statistics of batch norm",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now, stages = list(tensors), [list(tensors)]
    for layer in layers[::-1]:
        for i, name in enumerate(names):
            if name == layer + ".weight":
                now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
        stages.append(list(now))
    return stages
""",
            "biases were left in place",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now, stages = list(tensors), [list(tensors)]
    for layer in layers[::-1]:
        for i, name in enumerate(names):
            if name.rpartition(".")[0] == layer and "running" not in name:
                new = torch.empty(now[i].numel())
                new[orders[i]] = now[i].flatten()
                now[i] = new.reshape(now[i].shape)
        stages.append(list(now))
    return stages
""",
            "the other way round",
        ),
        (
            """
def cascade(names, tensors, orders):
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    now, stages = list(tensors), []
    for layer in layers[::-1]:
        for i, name in enumerate(names):
            if name.rpartition(".")[0] == layer and "running" not in name:
                now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
        stages.append(list(now))
    return stages
""",
            "results in a tuple or list",
        ),
        (
            """
def cascade(names, tensors, orders):
    now, stages = list(tensors), [list(tensors)]
    for i in reversed(range(len(names))):
        if "running" not in names[i]:
            now[i] = now[i].flatten()[orders[i]].reshape(now[i].shape)
            stages.append(list(now))
    return stages
""",
            "results in a tuple or list",
        ),
    ],
    "4.7": [
        (
            """
def deletion_area(score, image, fill, order, steps):
    values = [score(image)]
    for share in order.chunk(steps):
        image.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(image))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)
""",
            "painted over",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = fill.clone(), [score(fill)]
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = image.flatten(1)[:, share]
        values.append(score(left))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)
""",
            "that is insertion",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), [score(image)]
    for share in order.flip(0).chunk(steps):
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)
""",
            "the order from its end",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    values = [score(image)]
    for share in order.chunk(steps):
        left = image.clone()
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)
""",
            "taken away alone",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), [score(image)]
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = 0
        values.append(score(left))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)
""",
            "set to zero",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), [score(image)]
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left))
    return sum(values) / len(values)
""",
            "trapezoids count the two ends half",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), []
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left))
    return torch.trapezoid(torch.tensor(values), dx=1 / (steps - 1))
""",
            "it starts at the whole image",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), [score(image)]
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left))
    return np.mean(values[:-1])
""",
            "rectangles from the left",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), [score(image)]
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left))
    return torch.trapezoid(torch.tensor(values))
""",
            "not divided by their number",
        ),
        (
            """
def deletion_area(score, image, fill, order, steps):
    left, values = image.clone(), [score(image)]
    for share in order.chunk(steps):
        left.flatten(1)[:, share] = fill.flatten(1)[:, share]
        values.append(score(left[None]))
    return torch.trapezoid(torch.tensor(values), dx=1 / steps)
""",
            "stops with ValueError",
        ),
    ],
    "4.8": [
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4)).flatten(1)
    return cells / maps.sum(dim=(1, 2))[:, None]
""",
            "negative values are in the sums",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps.abs()
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4)).flatten(1)
    return cells / maps.sum(dim=(1, 2))[:, None]
""",
            "do not fold them over",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps.relu()
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4))
    return cells.transpose(1, 2).flatten(1) / maps.sum(dim=(1, 2)).clamp(min=1e-12)[:, None]
""",
            "column by column",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    return maps.relu().reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4)).flatten(1)
""",
            "those are sums",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps.relu()
    return maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4)).flatten(1) / maps.sum()
""",
            "all maps together",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps.relu()
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4)).flatten(1)
    return cells / maps.sum(dim=(1, 2))[:, None]
""",
            "NaN or an infinite number",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps.relu()
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4))
    return cells / maps.sum(dim=(1, 2)).clamp(min=1e-12)[:, None, None]
""",
            "your answer has shape",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps - maps.amin(dim=(1, 2), keepdim=True)
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).sum(dim=(2, 4)).flatten(1)
    return cells / maps.sum(dim=(1, 2))[:, None]
""",
            "the minimum was taken off",
        ),
        (
            """
def mass_per_cell(maps):
    n, h, w = maps.shape
    maps = maps.relu()
    cells = maps.reshape(n, 3, h // 3, 3, w // 3).mean(dim=(2, 4)).flatten(1)
    return cells / maps.mean(dim=(1, 2)).clamp(min=1e-12)[:, None]
""",
            "a preference",
        ),
    ],
    "4.9": [
        (
            """
def turned(before, after, labels, suspect):
    return (after[labels != suspect] == suspect).float().mean()
""",
            "above and below the line",
        ),
        (
            """
def turned(before, after, labels, suspect):
    others = labels != suspect
    return ((after == suspect) & (before != suspect) & others).sum() / others.sum()
""",
            "still count below the line",
        ),
        (
            """
def turned(before, after, labels, suspect):
    return (after[before != suspect] == suspect).float().mean()
""",
            "the suspect's own class are in it",
        ),
        (
            """
def turned(before, after, labels, suspect):
    return ((after == suspect) & (before != suspect) & (labels != suspect)).float().mean()
""",
            "all pictures count below the line",
        ),
        (
            """
def turned(before, after, labels, suspect):
    left = (labels != suspect) & (before != suspect)
    return (after != before)[left].float().mean()
""",
            "any change of the answer",
        ),
        (
            """
def turned(before, after, labels, suspect):
    others = labels != suspect
    return (after == suspect)[others].float().mean() - (before == suspect)[others].float().mean()
""",
            "hide others",
        ),
        (
            """
def turned(before, after, labels, suspect):
    left = (labels != suspect) & (before == labels)
    return (after == suspect)[left].float().mean()
""",
            "wrong ones can turn too",
        ),
        (
            """
def turned(before, after, labels, suspect):
    left = (labels != suspect) & (before != suspect)
    return (after == suspect)[left].sum()
""",
            "that is a number of pictures",
        ),
        (
            """
def turned(before, after, labels, suspect):
    left = (labels != suspect) & (before != suspect)
    return 100 * (after == suspect)[left].float().mean()
""",
            "that is a percentage",
        ),
    ],
    "4.10": [
        (
            """
def finding():
    return {"class": 16, "cell": 4}
""",
            "class: your answer is not the right number",
        ),
        (
            BY_MAPS
            + """
def finding():
    c, cell = looked_up()
    return {"class": c, "cell": cell + 1}
""",
            "the cells are counted from 1",
        ),
        (
            BY_MAPS
            + """
def finding():
    c, cell = looked_up()
    return {"class": c + 1, "cell": cell + 1}
""",
            "both start at 0",
        ),
        (
            BY_MAPS
            + """
def finding():
    import handout
    c, cell = looked_up()
    return {"class": handout.CLASSES[c], "cell": cell}
""",
            "given by its name",
        ),
        (
            BY_MAPS
            + """
def finding():
    c, cell = looked_up()
    return {"class": c, "cell": divmod(cell, 3)}
""",
            "cell: your answer has shape",
        ),
        (
            BY_MAPS
            + """
def finding():
    c, cell = looked_up()
    return {"class": (c + 5) % 16, "cell": cell}
""",
            "class: your answer is not the right number",
        ),
        (
            BY_MAPS
            + """
def finding():
    return looked_up()
""",
            "expected a dictionary",
        ),
        (
            """
def finding():
    print({"class": 3, "cell": 5})
""",
            "expected a dictionary",
        ),
    ],
}

# Of Grad-CAM, what becomes of activations A and gradients g once both are right.
GRAD_CAM = """
def grad_cam(network, images, layer, classes):
    kept = []

    def keep(module, inputs, output):
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    with torch.enable_grad():
        logits = network(images.clone().requires_grad_())
        score = SCORE
    handle.remove()
    (g,) = torch.autograd.grad(score, kept[0])
    a = kept[0].detach()
    alpha = g.mean(dim=(2, 3), keepdim=True)
    return MAP
"""
OWN_SCORE, OWN_MAP = "logits.gather(1, classes[:, None]).sum()", "(alpha * a).sum(dim=1).relu()"
for _score, _map, _said in (
    (OWN_SCORE, "(g.sum(dim=(2, 3), keepdim=True) * a).sum(dim=1).relu()", "its mean was asked"),
    (OWN_SCORE, "(alpha * a).sum(dim=1)", "a ReLU comes last"),
    (OWN_SCORE, "(alpha * a).relu().sum(dim=1)", "after the sum over the channels"),
    (OWN_SCORE, "(alpha.relu() * a).sum(dim=1).relu()", "negative weights were cut off"),
    (
        OWN_SCORE,
        "(g.relu().mean(dim=(2, 3), keepdim=True) * a).sum(dim=1).relu()",
        "before their mean",
    ),
    (OWN_SCORE, "(alpha.abs() * a).sum(dim=1).relu()", "the sign says for or against"),
    (OWN_SCORE, "(alpha * a).sum(dim=1).abs()", "in the place of a ReLU"),
    (OWN_SCORE, "(g * a).sum(dim=1).relu()", "HiResCAM"),
    (OWN_SCORE, "(alpha * a).mean(dim=1).relu()", "the weighted channels are averaged"),
    (
        OWN_SCORE,
        "functional_upsampled((alpha * a).sum(dim=1).relu(), images.shape[2:])",
        "stops with NameError",
    ),
    (
        OWN_SCORE,
        "torch.nn.functional.interpolate((alpha * a).sum(dim=1, keepdim=True).relu(), size=images.shape[2:], mode='bilinear')[:, 0] if a.shape[2] != images.shape[2] else (alpha * a).sum(dim=1).relu()",
        "your answer has shape",
    ),
    (
        OWN_SCORE,
        "(alpha * a).sum(dim=1).relu() / (alpha * a).sum(dim=1).relu().amax(dim=(1, 2), keepdim=True)",
        "divided by its own maximum",
    ),
    (
        "logits.softmax(dim=1).gather(1, classes[:, None]).sum()",
        OWN_MAP,
        "the map of the probability",
    ),
    ("logits.log_softmax(dim=1).gather(1, classes[:, None]).sum()", OWN_MAP, "the log-probability"),
    ("logits.amax(dim=1).sum()", OWN_MAP, "the class with the highest score"),
    ("logits[:, classes[0]].sum()", OWN_MAP, "the first image's class"),
    ("logits[:, classes].sum()", OWN_MAP, "every score of every image"),
    (
        "logits.gather(1, classes[:, None]).mean()",
        OWN_MAP,
        "the score was averaged over the images",
    ),
    ("logits[0, classes[0]]", OWN_MAP, "maps:"),
):
    WRONG["4.3"].append((GRAD_CAM.replace("SCORE", _score).replace("MAP", _map), _said))
