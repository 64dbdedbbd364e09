"""Answers to problem set 3 as students write them: right in other words, and wrong in known ways.

Each text stands for a whole answer cell and is run after the notebook's given cell.
"""

RIGHT: dict[str, list[str]] = {}
WRONG: dict[str, list[tuple[str, str]]] = {}

# ---- 3.1 ----

RIGHT["3.1"] = [
    """
def above_share(maps, share):
    kept = torch.zeros_like(maps, dtype=torch.bool)
    for i, heatmap in enumerate(maps):
        if heatmap.max() > 0:
            kept[i] = heatmap > share * heatmap.max()
    return kept
""",
    """
def above_share(maps, share):
    values = np.asarray(maps, dtype=np.float64)
    highest = values.max(axis=(1, 2), keepdims=True)
    return np.where(highest > 0, values > share * highest, False)
""",
    """
def above_share(maps, share):
    # A maximum at or below zero becomes infinite, so that nothing lies above a share of it.
    highest = maps.double().flatten(1).max(dim=1).values
    highest = torch.where(highest > 0, highest, torch.inf)
    return maps.double() / highest[:, None, None] > share
""",
    """
def above_share(maps, share):
    positive = maps.relu()
    return [(one > share * one.max()).tolist() for one in positive]
""",
    """
def above_share(maps, share):
    lifted = maps.relu() / (maps.relu().amax(dim=(1, 2), keepdim=True) + 1e-12)
    return (lifted > share).float()
""",
]

WRONG["3.1"] = [
    (
        """
def above_share(maps, share):
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    scaled = (maps - lowest) / (maps.amax(dim=(1, 2), keepdim=True) - lowest)
    return scaled > share
""",
        "from its minimum to its maximum first",
    ),
    (
        """
def above_share(maps, share):
    return maps > share * 255
""",
        "a share of 255",
    ),
    (
        """
def above_share(maps, share):
    return maps > share
""",
        "you compare with the share itself",
    ),
    (
        """
def above_share(maps, share):
    return (maps > share * maps.max()) & (maps.amax(dim=(1, 2), keepdim=True) > 0)
""",
        "one maximum is used for the whole batch",
    ),
    (
        """
def above_share(maps, share):
    highest = maps.amax(dim=(1, 2), keepdim=True)
    return maps / highest > share
""",
        "a map whose maximum is negative keeps pixels",
    ),
    (
        """
def above_share(maps, share):
    return maps >= share * maps.amax(dim=(1, 2), keepdim=True)
""",
        "a map whose maximum is zero keeps pixels",
    ),
    (
        """
def above_share(maps, share):
    size = maps.abs()
    return size > share * size.amax(dim=(1, 2), keepdim=True)
""",
        "you take values without their sign",
    ),
    (
        """
def above_share(maps, share):
    levels = torch.quantile(maps.flatten(1), 1 - share, dim=1)
    return maps > levels[:, None, None]
""",
        "you keep a share of the pixels",
    ),
    (
        """
def above_share(maps, share):
    highest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where((maps > share * highest) & (highest > 0), maps, 0.0)
""",
        "you return the values of the pixels that stay",
    ),
    (
        """
def above_share(maps, share):
    highest = maps.amax(dim=(1, 2), keepdim=True)
    kept = (maps > share * highest) & (highest > 0)
    return kept.transpose(1, 2)
""",
        "its last two axes are swapped",
    ),
    (
        """
def above_share(maps, share):
    highest = maps.amax(dim=(1, 2), keepdim=True)
    kept = (maps > share * highest) & (highest > 0)
""",
        "nothing (None)",
    ),
    (
        """
def above_share(maps, share):
    return maps > share * maps.max(dim=(1, 2))
""",
        "stops with TypeError",
    ),
]

# ---- 3.2 ----

RIGHT["3.2"] = [
    """
from skimage import measure


def largest_region(mask):
    numbers = measure.label(mask.numpy(), connectivity=2)
    regions = measure.regionprops(numbers)
    best = max(regions, key=lambda region: region.area)
    return torch.from_numpy(numbers == best.label)
""",
    """
import cv2


def largest_region(mask):
    kinds = mask.numpy().astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(kinds, connectivity=8)
    return numbers == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
""",
    """
def largest_region(mask):
    height, width = mask.shape
    seen = torch.zeros_like(mask)
    best = []
    for start in mask.nonzero().tolist():
        if seen[tuple(start)]:
            continue
        seen[tuple(start)] = True
        region, waiting = [], [tuple(start)]
        while waiting:
            y, x = waiting.pop()
            region.append((y, x))
            for j in range(max(y - 1, 0), min(y + 2, height)):
                for i in range(max(x - 1, 0), min(x + 2, width)):
                    if mask[j, i] and not seen[j, i]:
                        seen[j, i] = True
                        waiting.append((j, i))
        if len(region) > len(best):
            best = region
    found = torch.zeros_like(mask)
    for y, x in best:
        found[y, x] = True
    return found
""",
    """
def largest_region(mask):
    # Every pixel takes the highest number around it until nothing changes.
    numbers = torch.arange(1, mask.numel() + 1, dtype=torch.float64).reshape(mask.shape) * mask
    while True:
        spread = functional.max_pool2d(numbers[None, None], 3, stride=1, padding=1)[0, 0] * mask
        if torch.equal(spread, numbers):
            break
        numbers = spread
    return numbers == numbers[mask].mode().values
""",
]

WRONG["3.2"] = [
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy())
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return torch.from_numpy(numbers == sizes.argmax())
""",
        "you count four neighbours, not eight",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel())[1:]
    return torch.from_numpy(numbers == 1 + sizes.argmin())
""",
        "this is the smallest region",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    return torch.from_numpy(numbers == 1)
""",
        "the region that comes first",
    ),
    (
        """
def largest_region(mask):
    numbers, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    return torch.from_numpy(numbers == count)
""",
        "the region that comes last",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    return torch.from_numpy(numbers == np.bincount(numbers.ravel()).argmax())
""",
        "the background is counted as a region",
    ),
    (
        """
import cv2


def largest_region(mask):
    kinds = mask.numpy().astype(np.uint8)
    contours, _ = cv2.findContours(kinds, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    x, y = max(contours, key=cv2.contourArea)[0, 0]
    _, numbers = cv2.connectedComponents(kinds, connectivity=8)
    return torch.from_numpy(numbers == numbers[y, x])
""",
        "you compare the areas inside the outlines",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(numbers)
    areas = [(y.stop - y.start) * (x.stop - x.start) for y, x in boxes]
    return torch.from_numpy(numbers == 1 + int(np.argmax(areas)))
""",
        "you compare the boxes around the regions",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return torch.from_numpy(ndimage.binary_fill_holes(numbers == sizes.argmax()))
""",
        "its holes are filled",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    y, x = ndimage.find_objects(numbers)[np.bincount(numbers.ravel())[1:].argmax()]
    found = torch.zeros_like(mask)
    found[y, x] = True
    return found
""",
        "the box around the region, filled",
    ),
    (
        """
def largest_region(mask):
    return mask
""",
        "the mask as it came",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return torch.from_numpy(numbers == sizes.argmax()).T
""",
        "its last two axes are swapped",
    ),
    (
        """
def largest_region(mask):
    numbers, _ = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    sizes = np.bincount(numbers.ravel())
    sizes[0] = 0
    return torch.from_numpy(numbers * (numbers == sizes.argmax()))
""",
        "numbers are not right",
    ),
]

# ---- 3.3 ----

RIGHT["3.3"] = [
    """
def boxes_of(masks, size):
    found = []
    for mask in masks.numpy():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            found.append([0, 0, 0, 0])
            continue
        tall, wide = size[0] / mask.shape[0], size[1] / mask.shape[1]
        x0, x1 = columns[0] * wide, (columns[-1] + 1) * wide
        found.append([x0, rows[0] * tall, x1, (rows[-1] + 1) * tall])
    return np.array(found)
""",
    """
def boxes_of(masks, size):
    starts, ends = [], []
    for line, pixels in ((masks.any(dim=1).int(), size[1]), (masks.any(dim=2).int(), size[0])):
        step = pixels / line.shape[1]
        starts.append(line.argmax(dim=1) * step)
        ends.append((line.shape[1] - line.flip(1).argmax(dim=1)) * step)
    return torch.stack(starts + ends, dim=1) * masks.any(dim=2).any(dim=1)[:, None]
""",
    """
from torchvision.ops import masks_to_boxes


def boxes_of(masks, size):
    found = torch.zeros(len(masks), 4)
    full = masks.flatten(1).any(dim=1)
    cells = masks_to_boxes(masks[full]) + torch.tensor([0, 0, 1, 1])
    wide, tall = size[1] / masks.shape[2], size[0] / masks.shape[1]
    found[full] = cells * torch.tensor([wide, tall, wide, tall])
    return found
""",
    """
def boxes_of(masks, size):
    height, width = masks.shape[1:]
    answers = []
    for mask in masks.tolist():
        true = [(y, x) for y in range(height) for x in range(width) if mask[y][x]]
        if not true:
            answers.append((0.0, 0.0, 0.0, 0.0))
            continue
        ys, xs = zip(*true)
        x0, x1 = min(xs) / width * size[1], (max(xs) + 1) / width * size[1]
        answers.append((x0, min(ys) / height * size[0], x1, (max(ys) + 1) / height * size[0]))
    return tuple(answers)
""",
]

CELLS = """
def boxes_of(masks, size):
    found = torch.zeros(len(masks), 4, dtype=torch.float64)
    tall, wide = size[0] / masks.shape[1], size[1] / masks.shape[2]
    for box, mask in zip(found, masks):
        ys, xs = mask.nonzero().T
        if len(ys):
            box[:] = torch.tensor({edges})
    return found
"""

WRONG["3.3"] = [
    (
        CELLS.format(edges="[xs.min() * wide, ys.min() * tall, xs.max() * wide, ys.max() * tall]"),
        "the box ends too early",
    ),
    (
        CELLS.format(
            edges="[xs.min() * wide, ys.min() * tall, xs.max() * wide + 1, ys.max() * tall + 1]"
        ),
        "one pixel is added after the scaling",
    ),
    (
        CELLS.format(
            edges="[ys.min() * tall, xs.min() * wide, (ys.max() + 1) * tall, (xs.max() + 1) * wide]"
        ),
        "x and y are swapped",
    ),
    (
        CELLS.format(
            edges="[xs.min() * wide, ys.min() * tall, (xs.max() + 1 - xs.min()) * wide, "
            "(ys.max() + 1 - ys.min()) * tall]"
        ),
        "this is x, y, width, height",
    ),
    (
        CELLS.format(
            edges="[xs.min() * wide, ys.min() * tall, (xs.max() + 1) * wide, (ys.max() + 1) * tall]"
        ).replace("size[0] / masks.shape[1], size[1]", "size[1] / masks.shape[1], size[0]"),
        "you scale x by the height and y by the width",
    ),
    (
        CELLS.format(edges="[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]"),
        "still in cells of the mask",
    ),
    (
        CELLS.format(
            edges="[(xs.min() + 0.5) * wide, (ys.min() + 0.5) * tall, "
            "(xs.max() + 0.5) * wide, (ys.max() + 0.5) * tall]"
        ),
        "from centre to centre",
    ),
    (
        """
def boxes_of(masks, size):
    starts, ends = [], []
    for line, pixels in ((masks.any(dim=1).int(), size[1]), (masks.any(dim=2).int(), size[0])):
        step = pixels / line.shape[1]
        starts.append(line.argmax(dim=1) * step)
        ends.append((line.shape[1] - line.flip(1).argmax(dim=1)) * step)
    return torch.stack(starts + ends, dim=1)
""",
        "a mask without a true cell gets a box around everything",
    ),
    (
        CELLS.format(
            edges="[xs.min() * wide, ys.min() * tall, (xs.max() + 1) * wide, (ys.max() + 1) * tall]"
        ).replace("dtype=torch.float64", "dtype=torch.int64"),
        "cut down to whole pixels",
    ),
    (
        CELLS.format(
            edges="[xs.min() * wide, ys.min() * tall, (xs.max() + 1) * wide, (ys.max() + 1) * tall]"
        ).replace("return found", "return found.round()"),
        "the edges are rounded",
    ),
    (
        """
def boxes_of(masks, size):
    found = []
    for mask in masks:
        ys, xs = mask.nonzero().T
        found.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    return torch.tensor(found)
""",
        "stops with RuntimeError",
    ),
    (
        """
def boxes_of(masks, size):
    tall, wide = size[0] / masks.shape[1], size[1] / masks.shape[2]
    found = []
    for mask in masks:
        if mask.any():
            ys, xs = mask.nonzero().T
            found.append(torch.stack([xs.min() * wide, ys.min() * tall,
                                      (xs.max() + 1) * wide, (ys.max() + 1) * tall]))
    return torch.stack(found)
""",
        "your answer has shape (4, 4), expected (5, 4)",
    ),
]

# ---- 3.4 ----

RIGHT["3.4"] = [
    """
import cv2


def map_boxes(maps, size, share):
    found = []
    for heatmap in maps.numpy():
        large = cv2.resize(heatmap, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        if large.max() <= 0:
            found.append([0, 0, 0, 0])
            continue
        mask = (large > share * large.max()).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        x, y, width, height, _ = stats[1 + stats[1:, 4].argmax()]
        found.append([x, y, x + width, y + height])
    return np.array(found)
""",
    """
from skimage import measure


def map_boxes(maps, size, share):
    large = functional.interpolate(maps[:, None].double(), size=tuple(size), mode="bilinear")[:, 0]
    found = torch.zeros(len(maps), 4)
    for i, heatmap in enumerate(large):
        if heatmap.max() <= 0:
            continue
        numbers = measure.label((heatmap / heatmap.max() > share).numpy(), connectivity=2)
        best = max(measure.regionprops(numbers), key=lambda region: region.area)
        y0, x0, y1, x1 = best.bbox
        found[i] = torch.tensor([x0, y0, x1, y1])
    return found
""",
    """
from torchvision.transforms.v2.functional import resize


def map_boxes(maps, size, share):
    large = resize(maps[:, None], list(size), antialias=False)[:, 0]
    answers = []
    for heatmap in large.numpy():
        numbers, count = ndimage.label(heatmap > share * max(heatmap.max(), 0), np.ones((3, 3)))
        if count == 0:
            answers.append((0, 0, 0, 0))
            continue
        sizes = ndimage.sum_labels(np.ones_like(heatmap), numbers, range(1, count + 1))
        y, x = ndimage.find_objects(numbers)[int(np.argmax(sizes))]
        answers.append((x.start, y.start, x.stop, y.stop))
    return answers
""",
    """
def map_boxes(maps, size, share):
    def ramp(cells, pixels):  # weights of the cells for each pixel's centre
        places = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
        places = places.clip(0, cells - 1)
        return np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)

    found = np.zeros((len(maps), 4), dtype=int)
    for box, heatmap in zip(found, maps.double().numpy()):
        large = ramp(heatmap.shape[0], size[0]) @ heatmap @ ramp(heatmap.shape[1], size[1]).T
        if large.max() > 0:
            numbers, _ = ndimage.label(large > share * large.max(), np.ones((3, 3)))
            ys, xs = np.nonzero(numbers == 1 + np.bincount(numbers.ravel())[1:].argmax())
            box[:] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    return found
""",
]

WHOLE = """
def map_boxes(maps, size, share):
    found = torch.zeros(len(maps), 4, dtype=torch.int64)
    upsampled = functional.interpolate(maps[:, None], tuple(size), mode="bilinear")[:, 0]
    for box, large in zip(found, upsampled):
        if large.max() > 0:
            mask = (large > share * large.max()).numpy()
            numbers, _ = ndimage.label(mask, structure=np.ones((3, 3)))
            sizes = np.bincount(numbers.ravel())[1:]
            ys, xs = np.nonzero(numbers == 1 + sizes.argmax())
            box[:] = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    return found
"""

assert all(WHOLE.count(part) for part in ("[:, 0]\n", "sizes.argmax()", "large.max() > 0"))

WRONG["3.4"] = [
    (
        """
def map_boxes(maps, size, share):
    found = torch.zeros(len(maps), 4, dtype=torch.int64)
    highest = maps.amax(dim=(1, 2), keepdim=True)
    kept = ((maps > share * highest) & (highest > 0)).float()
    large = functional.interpolate(kept[:, None], tuple(size), mode="nearest-exact")[:, 0]
    for box, mask in zip(found, large):
        numbers, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
        if count:
            ys, xs = np.nonzero(numbers == 1 + np.bincount(numbers.ravel())[1:].argmax())
            box[:] = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
    return found
""",
        "the map has to be upsampled first",
    ),
    (
        WHOLE.replace('mode="bilinear"', 'mode="bilinear", align_corners=True'),
        "align_corners is on",
    ),
    (WHOLE.replace("bilinear", "bicubic"), "bicubic, not bilinear"),
    (
        WHOLE.replace("maps[:, None]", "maps.relu()[:, None]"),
        "negative values are cut off before the upsampling",
    ),
    (
        WHOLE.replace("        if large", "        large = large - large.min()\n        if large"),
        "from its minimum to its maximum first",
    ),
    (
        WHOLE.replace("share * large.max()", "share * 255").replace(
            "if large", "if large.max() > share * 255 and large"
        ),
        "a share of 255",
    ),
    (
        WHOLE.replace(
            "sizes.argmax()", "ndimage.maximum(large, numbers, range(1, len(sizes) + 1)).argmax()"
        ),
        "the region with the highest value",
    ),
    (WHOLE.replace("numbers == 1 + sizes.argmax()", "mask"), "around all regions"),
    (WHOLE.replace("sizes.argmax()", "sizes.argmin()"), "the smallest region"),
    (WHOLE.replace(", structure=np.ones((3, 3))", ""), "you count four neighbours, not eight"),
    (WHOLE.replace("xs.max() + 1, ys.max() + 1", "xs.max(), ys.max()"), "the box ends too early"),
    (
        WHOLE.replace(
            "[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]",
            "[ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]",
        ),
        "x and y are swapped",
    ),
    (
        WHOLE.replace("xs.max() + 1, ys.max() + 1", "np.ptp(xs) + 1, np.ptp(ys) + 1"),
        "this is x, y, width, height",
    ),
    (WHOLE.replace("tuple(size)", "tuple(size[::-1])"), "upsampled to (width, height)"),
    (
        WHOLE.replace("share * large.max()", "share * upsampled.max()").replace(
            "if large.max() > 0", "if large.max() > share * upsampled.max()"
        ),
        "one maximum is used for the whole batch",
    ),
    (
        WHOLE.replace("if large.max() > 0", "if True").replace(
            "large > share * large.max()", "large / large.max() > share"
        ),
        "a map without a positive value gets a box",
    ),
    (
        WHOLE.replace(
            "box, large in zip(found, upsampled)",
            "box, large, cells in zip(found, upsampled, maps)",
        ).replace("share * large.max()", "share * cells.max()"),
        "a share of the cells' maximum",
    ),
    (WHOLE.replace("if large.max() > 0", "if True"), "stops with ValueError"),
    (WHOLE.replace("maps[:, None], tuple(size)", "maps, tuple(size)"), "stops with"),
    (WHOLE.replace("    return found\n", ""), "nothing (None)"),
]

# ---- 3.5 ----

RIGHT["3.5"] = [
    """
def iou_table(boxes, others):
    return box_iou(boxes.double(), others.double()).nan_to_num(0)
""",
    """
def iou_table(boxes, others):
    def area(box):
        return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)

    table = []
    for a in boxes.tolist():
        row = []
        for b in others.tolist():
            width = min(a[2], b[2]) - max(a[0], b[0])
            height = min(a[3], b[3]) - max(a[1], b[1])
            both = max(width, 0) * max(height, 0)
            row.append(both / (area(a) + area(b) - both) if both else 0.0)
        table.append(row)
    return table
""",
    """
def iou_table(boxes, others):
    a, b = boxes.numpy().astype(np.float64)[:, None], others.numpy().astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.prod(sides.clip(0), axis=2)
    areas = [np.prod(one[..., 2:] - one[..., :2], axis=2) for one in (a, b)]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9)
""",
    """
def iou_table(boxes, others):
    # On a grid of quarter pixels, on whose lines all edges lie.
    def masks(some):
        ends = (4 * some).round().long()
        found = torch.zeros(len(some), 200, 200, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(found, ends):
            mask[y0:y1, x0:x1] = True
        return found.flatten(1)

    a, b = masks(boxes), masks(others)
    both = (a[:, None] & b).sum(dim=2)
    either = (a[:, None] | b).sum(dim=2)
    return both / either.clamp(min=1)
""",
]

TABLE = """
def iou_table(boxes, others):
    start = torch.maximum(boxes[:, None, :2], others[:, :2])
    end = torch.minimum(boxes[:, None, 2:], others[:, 2:])
    both = (end - start).clamp(min=0).prod(dim=2)
    area, other = ((some[:, 2:] - some[:, :2]).prod(dim=1) for some in (boxes, others))
    either = area[:, None] + other - both
    return both / either.clamp(min=1e-9)
"""

WRONG["3.5"] = [
    (
        """
def iou_table(boxes, others):
    return box_iou(boxes, others)
""",
        "two empty boxes give 0/0",
    ),
    (
        TABLE.replace(".clamp(min=0)", "").replace(".clamp(min=1e-9)", ""),
        "a negative width and a negative height",
    ),
    (
        TABLE.replace("clamp(min=0).prod(dim=2)", "prod(dim=2).clamp(min=0)").replace(
            "both / either.clamp(min=1e-9)", "(both / either).nan_to_num(0)"
        ),
        "two negative sides have a positive product",
    ),
    (
        TABLE.replace("(end - start)", "(end - start + 1)").replace(
            "- some[:, :2])", "- some[:, :2] + 1)"
        ),
        "one pixel is added to each side",
    ),
    (
        TABLE.replace(
            "    start =",
            "    boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)\n"
            "    others = torch.cat([others[:, :2], others[:, :2] + others[:, 2:]], dim=1)\n"
            "    start =",
        ),
        "you read the boxes as x, y, width, height",
    ),
    (TABLE.replace("+ other - both", "+ other"), "the overlap is counted twice"),
    (
        TABLE.replace("area[:, None] + other - both", "torch.minimum(area[:, None], other)"),
        "you divide by the smaller area",
    ),
    (
        TABLE.replace("area[:, None] + other - both", "area[:, None]"),
        "you divide by the area of the first box",
    ),
    (
        TABLE.replace("area[:, None] + other - both", "other"),
        "you divide by the area of the second box",
    ),
    (
        TABLE.replace(
            "    start =", "    boxes, others = boxes.long(), others.long()\n    start ="
        ),
        "cut down to whole numbers",
    ),
    (
        TABLE.replace("clamp(min=1e-9)", "clamp(min=1e-9).T").replace("both / e", "both.T / e"),
        "the table is turned",
    ),
    (
        """
def iou_table(boxes, others):
    start = torch.maximum(boxes[:, :2], others[:, :2])
    end = torch.minimum(boxes[:, 2:], others[:, 2:])
    both = (end - start).clamp(min=0).prod(dim=1)
    areas = [(some[:, 2:] - some[:, :2]).prod(dim=1) for some in (boxes, others)]
    return both / (areas[0] + areas[1] - both)
""",
        "stops with RuntimeError",
    ),
    (
        TABLE.replace(
            "both / either.clamp(min=1e-9)", "(both / either.clamp(min=1e-9)).amax(dim=1)"
        ),
        "your answer has shape",
    ),
]

# ---- 3.6 ----

RIGHT["3.6"] = [
    """
def hits(classes, guesses, target):
    found = []
    for c, guess in zip(classes.tolist(), guesses.tolist()):
        good = False
        for label, box in zip(target["labels"].tolist(), target["boxes"].tolist()):
            width = min(guess[2], box[2]) - max(guess[0], box[0])
            height = min(guess[3], box[3]) - max(guess[1], box[1])
            if c == target["label"] == label and width > 0 and height > 0:
                both = width * height
                areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (guess, box)]
                good = good or 2 * both >= sum(areas) - both
        found.append(good)
    return found
""",
    """
def hits(classes, guesses, target):
    table = box_iou(guesses, target["boxes"])
    table[:, target["labels"] != target["label"]] = 0
    table[classes != target["label"]] = 0
    return table.amax(dim=1) >= 0.5
""",
    """
def hits(classes, guesses, target):
    labels = target["labels"].numpy()
    own = target["boxes"].numpy().astype(np.float64)[labels == target["label"]]
    a, b = guesses.numpy().astype(np.float64)[:, None], own[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = sides.clip(0).prod(axis=2)
    sizes = [(one[..., 2:] - one[..., :2]).prod(axis=2) for one in (a, b)]
    best = (both / (sizes[0] + sizes[1] - both)).max(axis=1)
    return np.where(classes.numpy() == target["label"], best >= 0.5, False).astype(int)
""",
]

HIT = """
def hits(classes, guesses, target):
    own = target["boxes"][target["labels"] == target["label"]].double()
    fits = (box_iou(guesses.double(), own) >= 0.5).any(dim=1)
    return fits & (classes == target["label"])
"""

WRONG["3.6"] = [
    (HIT.replace('fits & (classes == target["label"])', "fits"), "a guess of another class counts"),
    (HIT.replace("fits & ", ""), "the boxes are not looked at"),
    (
        HIT.replace('[target["labels"] == target["label"]]', ""),
        "a box that fits an instance of another class counts",
    ),
    (
        """
def hits(classes, guesses, target):
    same = classes[:, None] == target["labels"]
    return (same & (box_iou(guesses, target["boxes"]) >= 0.5)).any(dim=1)
""",
        "instances of its own class",
    ),
    (HIT.replace("].double()", "][:1].double()"), "only the first instance"),
    (HIT.replace("].double()", "][-1:].double()"), "only the last instance"),
    (HIT.replace(".any(dim=1)", ".all(dim=1)"), "has to fit all instances"),
    (
        HIT.replace(
            "(box_iou(guesses.double(), own) >= 0.5).any(dim=1)",
            "box_iou(guesses.double(), own).mean(dim=1) >= 0.5",
        ),
        "or their average",
    ),
    (
        HIT.replace(
            "(box_iou(guesses.double(), own) >= 0.5).any(dim=1)",
            "box_iou(guesses.double(), own).sum(dim=1) >= 0.5",
        ),
        "the IoUs of the instances are added up",
    ),
    (
        HIT.replace(
            "    fits",
            "    own = torch.cat([own[:, :2].amin(dim=0), own[:, 2:].amax(dim=0)])[None]\n    fits",
        ),
        "one box around all instances",
    ),
    (HIT.replace(">= 0.5", "> 0.5"), "exactly 0.5 is a hit"),
    (
        """
def hits(classes, guesses, target):
    found = []
    for c, guess in zip(classes, guesses.double()):
        best = 0
        for box in target["boxes"][target["labels"] == target["label"]].double():
            sides = torch.minimum(guess[2:], box[2:]) - torch.maximum(guess[:2], box[:2])
            both = sides.clamp(min=0).prod()
            areas = (guess[2:] - guess[:2]).prod() + (box[2:] - box[:2]).prod()
            best = max(best, both / (areas - both + 1e-6))
        found.append(bool(c == target["label"] and best >= 0.5))
    return torch.tensor(found)
""",
        "exactly 0.5 is a hit",
    ),
    (
        HIT.replace("    fits", "    wider = torch.tensor([0, 0, 1, 1])\n    fits").replace(
            "box_iou(guesses.double(), own)", "box_iou(guesses.double() + wider, own + wider)"
        ),
        "an IoU below 0.5 counts as a hit",
    ),
    (
        HIT.replace(
            'return fits & (classes == target["label"])',
            'return (fits & (classes == target["label"])).any()',
        ),
        "your answer has shape ()",
    ),
    (HIT.replace('target["boxes"]', "target.boxes"), "stops with AttributeError"),
]

# ---- 3.7 ----

RIGHT["3.7"] = [
    """
def error_rates(classes, labels, ious, known):
    missed = {"classification": 0, "top-1": 0, "top-5": 0, "GT-known": 0}
    n = len(labels)
    for i in range(n):
        hit = [classes[i, j] == labels[i] and ious[i, j] >= 0.5 for j in range(5)]
        missed["classification"] += int(classes[i, 0] != labels[i])
        missed["top-1"] += int(not hit[0])
        missed["top-5"] += int(not any(hit))
        missed["GT-known"] += int(known[i] < 0.5)
    return {name: count / n for name, count in missed.items()}
""",
    """
def error_rates(classes, labels, ious, known):
    classes, labels, ious, known = (np.asarray(one) for one in (classes, labels, ious, known))
    best = np.where(classes == labels[:, None], ious, 0)
    return {
        "GT-known": np.mean(known < 0.5),
        "top-5": np.mean(best.max(axis=1) < 0.5),
        "top-1": np.mean(best[:, 0] < 0.5),
        "classification": np.mean(classes[:, 0] != labels),
    }
""",
    """
def error_rates(classes, labels, ious, known):
    right = (classes == labels[:, None]).float()
    hit = right * (ious >= 0.5).float()
    return {
        "classification": 1 - right[:, 0].mean(),
        "top-1": 1 - hit[:, 0].mean(),
        "top-5": 1 - hit.amax(dim=1).mean(),
        "GT-known": 1 - (known >= 0.5).float().mean(),
    }
""",
]

RATES = """
def error_rates(classes, labels, ious, known):
    right, fits = classes == labels[:, None], ious >= 0.5
    missed = {
        "classification": ~right[:, 0],
        "top-1": ~(right & fits)[:, 0],
        "top-5": ~(right & fits).any(dim=1),
        "GT-known": known < 0.5,
    }
    return {name: which.double().mean().item() for name, which in missed.items()}
"""

WRONG["3.7"] = [
    (
        RATES.replace("which.double().mean()", "(1 - which.double().mean())"),
        "the shares of images that are right",
    ),
    (RATES.replace("which.double()", "100 * which.double()"), "these are per cent"),
    (
        RATES.replace("(right & fits).any(dim=1)", "(right.any(dim=1) & fits.any(dim=1))"),
        "the class is taken from one guess and the box from another",
    ),
    (RATES.replace("(right & fits).any(dim=1)", "right.any(dim=1)"), "top-5: only the classes"),
    (RATES.replace("(right & fits).any(dim=1)", "fits.any(dim=1)"), "top-5: only the boxes"),
    (
        RATES.replace("(right & fits).any(dim=1)", "(right.any(dim=1) & fits[:, 0])"),
        "not the first one's",
    ),
    (RATES.replace("(right & fits).any(dim=1)", "(right & fits)"), "the average runs over guesses"),
    (RATES.replace("(right & fits)[:, 0]", "fits[:, 0]"), "top-1: the class of the first guess"),
    (RATES.replace("(right & fits)[:, 0]", "right[:, 0]"), "top-1: the box of the first guess"),
    (
        RATES.replace("(right & fits)[:, 0]", "fits[right[:, 0], 0]"),
        "top-1: only images whose class is right are counted",
    ),
    (
        RATES.replace("known < 0.5", "~(right[:, 0] & (known >= 0.5))"),
        "in GT-known the class that the network answers",
    ),
    (
        RATES.replace("known < 0.5", "~fits[:, 0]"),
        "in GT-known this asks for the box of the first guess",
    ),
    (
        RATES.replace("known < 0.5", "~(right & fits).any(dim=1)"),
        "in GT-known an image whose class is not among the five",
    ),
    (RATES.replace("~right[:, 0]", "~right.any(dim=1)"), "classification: the first class decides"),
    (RATES.replace('"GT-known"', '"gt-known"'), "the keys are"),
    (
        RATES.replace("return {name: ", "return [").replace(
            " for name, which in missed.items()}", " for which in missed.values()]"
        ),
        "expected a dictionary",
    ),
]

# ---- 3.9 ----

RIGHT["3.9"] = [
    """
def choose(valid, test, names, shares):
    best = None
    for r, name in enumerate(names):
        for a, share in enumerate(shares):
            missed = sum(float(iou) < 0.5 for iou in valid[r, a])
            if best is None or missed < best[0]:
                best = missed, r, a
    _, r, a = best
    return [names[r], shares[a], sum(float(iou) < 0.5 for iou in test[r, a]) / test.shape[2]]
""",
    """
def choose(valid, test, names, shares):
    hits = (valid.numpy() >= 0.5).mean(axis=2)
    r, a = np.unravel_index(hits.argmax(), hits.shape)
    return names[r], np.float64(shares[a]), np.mean(test.numpy()[r, a] < 0.5)
""",
    """
def choose(valid, test, names, shares):
    there = (valid < 0.5).float().mean(dim=2)
    of_network, place = there.min(dim=1)
    r = int(of_network.argmin())
    a = int(place[r])
    return names[r], torch.tensor(shares[a]), (test[r, a] < 0.5).float().mean()
""",
]

CHOOSE = """
def choose(valid, test, names, shares):
    errors = (valid < 0.5).double().mean(dim=2)
    r, a = divmod(int(errors.argmin()), len(shares))
    return names[r], shares[a], (test[r, a] < 0.5).double().mean().item()
"""

WRONG["3.9"] = [
    (CHOOSE.replace("errors = (valid", "errors = (test"), "are chosen on the test pictures"),
    (
        CHOOSE.replace("(valid < 0.5)", "(torch.cat([valid, test], dim=2) < 0.5)"),
        "on validation and test pictures together",
    ),
    (CHOOSE.replace("(test[r, a]", "(valid[r, a]"), "that of the validation pictures"),
    (
        CHOOSE.replace(
            "    return", "    a = int((test[r] < 0.5).double().mean(dim=1).argmin())\n    return"
        ),
        "but its share on the test pictures",
    ),
    (
        """
def choose(valid, test, names, shares):
    best = []
    for r, name in enumerate(names):
        a = int((valid[r] < 0.5).double().mean(dim=1).argmin())
        best.append(((test[r, a] < 0.5).double().mean().item(), name, shares[a]))
    error, name, share = min(best, key=lambda one: one[0])
    return name, share, error
""",
        "but the network on the test pictures",
    ),
    (
        CHOOSE.replace("(valid < 0.5).double()", "-valid.double()"),
        "the highest mean IoU is chosen",
    ),
    (
        CHOOSE.replace(
            "    r, a = divmod(int(errors.argmin()), len(shares))",
            "    r = int(errors.mean(dim=1).argmin())\n    a = int(errors[r].argmin())",
        ),
        "by its mean over all shares",
    ),
    (
        CHOOSE.replace(
            "    r, a = divmod(int(errors.argmin()), len(shares))",
            "    a = int(errors.mean(dim=0).argmin())\n    r = int(errors[:, a].argmin())",
        ),
        "one share is chosen for all networks first",
    ),
    (CHOOSE.replace("errors.argmin()", "errors.argmax()"), "the most misses are chosen"),
    (CHOOSE.replace("(test[r, a] < 0.5)", "(test[r, a] >= 0.5)"), "this is the share of hits"),
    (CHOOSE.replace("shares[a]", "a"), "the place of the share in the list"),
    (CHOOSE.replace("names[r]", "r"), "result 1: your answer is the number"),
    (
        CHOOSE.replace("divmod(int(errors.argmin()), len(shares))", "errors.argmin()"),
        "stops with TypeError",
    ),
    (CHOOSE.replace("names[r], shares[a], ", ""), "expected 3 results"),
]

# ---- 3.10 ----

RIGHT["3.10"] = [
    """
def box_accuracies(valid, test):
    def accuracy(ious, level, overlap):
        return sum(bool(row[level] >= overlap) for row in ious) / len(ious)

    levels = range(valid.shape[1])
    chosen = max(levels, key=lambda level: accuracy(valid, level, 0.5))
    best = [max(accuracy(test, level, one) for level in levels) for one in (0.3, 0.5, 0.7)]
    return {
        "BoxAcc": accuracy(test, chosen, 0.5),
        "MaxBoxAcc": best[1],
        "MaxBoxAccV2": sum(best) / 3,
    }
""",
    """
def box_accuracies(valid, test):
    valid, test = valid.numpy(), test.numpy()
    overlaps = np.array([0.3, 0.5, 0.7])
    here = (test[..., None] >= overlaps).mean(axis=0)
    level = np.argmax((valid >= 0.5).sum(axis=0))
    return {
        "MaxBoxAccV2": here.max(axis=0).mean(),
        "MaxBoxAcc": here[:, 1].max(),
        "BoxAcc": here[level, 1],
    }
""",
    """
def box_accuracies(valid, test):
    at = lambda ious, overlap: (ious >= overlap).float().mean(0)
    return {
        "BoxAcc": at(test, 0.5)[at(valid, 0.5).argmax()],
        "MaxBoxAcc": at(test, 0.5).max(),
        "MaxBoxAccV2": torch.stack([at(test, one).max() for one in (0.3, 0.5, 0.7)]).mean(),
    }
""",
]

ACCURACIES = """
def box_accuracies(valid, test):
    there = (valid >= 0.5).double().mean(dim=0)
    here = {overlap: (test >= overlap).double().mean(dim=0) for overlap in (0.3, 0.5, 0.7)}
    return {
        "BoxAcc": here[0.5][there.argmax()].item(),
        "MaxBoxAcc": here[0.5].max().item(),
        "MaxBoxAccV2": sum(accuracy.max().item() for accuracy in here.values()) / 3,
    }
"""

WRONG["3.10"] = [
    (
        ACCURACIES.replace("here[0.5].max()", "(test.amax(dim=1) >= 0.5).double().mean()"),
        "in MaxBoxAcc each picture gets its own best level",
    ),
    (
        ACCURACIES.replace("here[0.5].max()", "there.max()"),
        "in MaxBoxAcc this is the best level of the validation",
    ),
    (
        ACCURACIES.replace("here[0.5][there.argmax()]", "here[0.5].max()"),
        "in BoxAcc the level is the best one of the test pictures",
    ),
    (
        ACCURACIES.replace("here[0.5][there.argmax()]", "there.max()"),
        "in BoxAcc the level is right, but the share reported",
    ),
    (
        ACCURACIES.replace("there.argmax()", "valid.mean(dim=0).argmax()"),
        "in BoxAcc the level with the highest mean IoU",
    ),
    (
        ACCURACIES.replace(
            "sum(accuracy.max().item() for accuracy in here.values()) / 3",
            "(sum(here.values()) / 3).max().item()",
        ),
        "in MaxBoxAccV2 one level serves all three",
    ),
    (
        ACCURACIES.replace("accuracy.max().item()", "accuracy[here[0.5].argmax()].item()"),
        "in MaxBoxAccV2 the level is that of IoU 0.5",
    ),
    (
        ACCURACIES.replace(
            "sum(accuracy.max().item() for accuracy in here.values()) / 3",
            "sum((test.amax(dim=1) >= o).double().mean().item() for o in here) / 3",
        ),
        "in MaxBoxAccV2 each picture gets its own best level",
    ),
    (
        ACCURACIES.replace("(valid >= 0.5)", "(valid < 0.5)")
        .replace("(test >= overlap)", "(test < overlap)")
        .replace("max()", "min()")
        .replace("argmax", "argmin"),
        "these are errors",
    ),
    (ACCURACIES.replace(".mean(dim=0)", ".mean(dim=0) * 100"), "these are per cent"),
    (
        ACCURACIES.replace("mean(dim=0)", "mean(dim=1)").replace(
            "there.argmax()", "there.argmax() % len(test)"
        ),
        "the axes are confused",
    ),
    (ACCURACIES.replace('"MaxBoxAccV2"', '"V2"'), "the keys are"),
    (ACCURACIES.replace("[there.argmax()]", "[there.max()]"), "stops with IndexError"),
]

# ---- 3.13 ----

RIGHT["3.13"] = [
    """
import cv2


def points_at(maps, masks, tolerance):
    found = []
    for heatmap, instances in zip(maps.numpy(), masks):
        off = (~instances.any(dim=0).numpy()).astype(np.uint8)
        distance = cv2.distanceTransform(off, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        found.append(distance.flat[heatmap.argmax()] <= tolerance)
    return np.array(found)
""",
    """
def points_at(maps, masks, tolerance):
    found = []
    for i in range(len(maps)):
        y, x = np.unravel_index(int(maps[i].argmax()), maps[i].shape)
        best = min(
            float(np.hypot(v - y, u - x))
            for instance in masks[i]
            for v, u in instance.nonzero().tolist()
        )
        found.append(best <= tolerance)
    return found
""",
    """
def points_at(maps, masks, tolerance):
    found = torch.zeros(len(maps))
    for i, (heatmap, instances) in enumerate(zip(maps, masks)):
        distance = ndimage.distance_transform_edt(~instances.any(dim=0).numpy())
        highest = (heatmap == heatmap.max()).numpy()
        found[i] = float(distance[highest].min() <= tolerance)
    return found
""",
    """
def points_at(maps, masks, tolerance):
    reach = int(np.ceil(tolerance))
    ys, xs = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = ys**2 + xs**2 <= tolerance**2
    grown = [ndimage.binary_dilation(one.any(dim=0).numpy(), disc) for one in masks]
    return [bool(mask.flat[int(heatmap.argmax())]) for heatmap, mask in zip(maps, grown)]
""",
]

POINTS = """
def points_at(maps, masks, tolerance):
    found = []
    for heatmap, instances in zip(maps, masks):
        y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
        ys, xs = instances.any(dim=0).nonzero().T
        found.append(bool(((ys - y) ** 2 + (xs - x) ** 2 <= tolerance**2).any()))
    return torch.tensor(found)
"""

WRONG["3.13"] = [
    (POINTS.replace("<= tolerance**2", "== 0"), "the tolerance is left out"),
    (POINTS.replace("instances.any(dim=0)", "instances[0]"), "only the first instance"),
    (POINTS.replace("instances.any(dim=0)", "instances[-1]"), "only the last instance"),
    (
        POINTS.replace("instances.any(dim=0)", "instances[instances.sum(dim=(1, 2)).argmax()]"),
        "only the largest instance",
    ),
    (POINTS.replace("y, x = divmod", "x, y = divmod"), "rows and columns are swapped"),
    (
        """
def points_at(maps, masks, tolerance):
    found = []
    for heatmap, instances in zip(maps, masks):
        y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
        good = False
        for mask in instances:
            ys, xs = mask.nonzero().T
            dy = max(int(ys.min()) - y, y - int(ys.max()), 0)
            dx = max(int(xs.min()) - x, x - int(xs.max()), 0)
            good = good or dy**2 + dx**2 <= tolerance**2
        found.append(good)
    return torch.tensor(found)
""",
        "the boxes around the instances are asked",
    ),
    (
        """
def points_at(maps, masks, tolerance):
    found = []
    for heatmap, instances in zip(maps, masks):
        y, x = divmod(int(heatmap.argmax()), heatmap.shape[1])
        near = False
        for mask in instances:
            v, u = mask.nonzero().double().mean(dim=0).round().tolist()
            near = near or (v - y) ** 2 + (u - x) ** 2 <= tolerance**2
        found.append(near)
    return torch.tensor(found)
""",
        "the distance to the centre of an instance",
    ),
    (
        POINTS.replace(
            "(ys - y) ** 2 + (xs - x) ** 2 <= tolerance**2",
            "torch.maximum((ys - y).abs(), (xs - x).abs()) <= tolerance",
        ),
        "compared with the tolerance one by one",
    ),
    (
        POINTS.replace(
            "(ys - y) ** 2 + (xs - x) ** 2 <= tolerance**2",
            "(ys - y).abs() + (xs - x).abs() <= tolerance",
        ),
        "the distances in rows and columns are added",
    ),
    (POINTS.replace("heatmap.argmax()", "heatmap.abs().argmax()"), "without its sign"),
    (POINTS.replace("heatmap.argmax()", "heatmap.argmin()"), "the lowest place is taken"),
    (POINTS.replace(".any()))", ".any()) is False)"), "hits and misses are exchanged"),
    (
        POINTS.replace("torch.tensor(found)", "torch.tensor(found).double().mean()"),
        "your answer has shape ()",
    ),
    (
        POINTS.replace("divmod(int(heatmap.argmax()), heatmap.shape[1])", "heatmap.argmax()"),
        "stops with TypeError",
    ),
]

# ---- 3.14 ----

RIGHT["3.14"] = [
    """
def recalls(heatmap, mask, wanted):
    best = [0.0] * len(wanted)
    for level in [0.0, *heatmap[heatmap > 0].tolist()]:
        kept = heatmap > level
        if kept.any():
            both = (kept & mask).sum().item()
            precision, recall = both / kept.sum().item(), both / mask.sum().item()
            for i, least in enumerate(wanted):
                if precision >= least:
                    best[i] = max(best[i], recall)
    return best
""",
    """
def recalls(heatmap, mask, wanted):
    values, inside = heatmap.numpy().ravel(), mask.numpy().ravel()
    order = np.argsort(-values)
    order = order[values[order] > 0]
    found = np.cumsum(inside[order])
    precision = found / np.arange(1, len(order) + 1)
    return np.array([found[precision >= p].max(initial=0) / inside.sum() for p in wanted])
""",
    """
from sklearn.metrics import precision_recall_curve


def recalls(heatmap, mask, wanted):
    # Below zero all values are level, and the cut that keeps them all is left out.
    values = heatmap.double().relu().flatten().numpy()
    truth = mask.flatten().numpy()
    precision, recall, levels = precision_recall_curve(truth, values)
    use = levels > 0
    precision, recall = precision[:-1][use], recall[:-1][use]
    return tuple(float(recall[precision >= p].max(initial=0.0)) for p in wanted)
""",
    """
def recalls(heatmap, mask, wanted):
    levels = torch.cat([heatmap[heatmap > 0].double(), torch.zeros(1).double()])
    kept = heatmap.double().flatten() > levels[:, None]
    both = (kept & mask.flatten()).sum(dim=1).double()
    precision = (both / kept.sum(dim=1)).nan_to_num(0)
    recall = both / mask.sum()
    return torch.stack([(recall * (precision >= p)).max() for p in wanted])
""",
]

RECALLS = """
def recalls(heatmap, mask, wanted):
    values, order = heatmap.flatten().sort(descending=True)
    inside = mask.flatten()[order].double()
    positive = values > 0
    found = inside.cumsum(0)[positive]
    precision, recall = found / torch.arange(1, len(found) + 1), found / inside.sum()
    best = [recall[precision >= least] for least in wanted]
    return [float(one.max()) if len(one) else 0.0 for one in best]
"""

WRONG["3.14"] = [
    (
        """
def recalls(heatmap, mask, wanted):
    answers = []
    for least in wanted:
        best = 0.0
        for level in sorted(heatmap[heatmap > 0].tolist(), reverse=True)[1:] + [0.0]:
            kept = heatmap > level
            if (kept & mask).sum() / kept.sum() < least:
                break
            best = ((kept & mask).sum() / mask.sum()).item()
        answers.append(best)
    return answers
""",
        "you stop at the first cut with too little precision",
    ),
    (
        RECALLS.replace("values > 0", "values > values.min() - 1"),
        "pixels at or below zero are kept",
    ),
    (
        RECALLS.replace("precision, recall = found", "recall, precision = found"),
        "recall and precision are exchanged",
    ),
    (
        """
def recalls(heatmap, mask, wanted):
    answers = []
    for least in wanted:
        best = 0.0
        for i in range(20):
            kept = heatmap > i / 20 * heatmap.max()
            both = (kept & mask).sum()
            if both / kept.sum() >= least:
                best = max(best, (both / mask.sum()).item())
        answers.append(best)
    return answers
""",
        "only a few shares of the maximum are tried",
    ),
    (
        RECALLS.replace(
            "recall[precision >= least]",
            "recall[(precision == precision.max()) & (precision >= least)]",
        ),
        "the recall of the most precise cut",
    ),
    (RECALLS.replace("one.max()", "one.min()"), "this is the smallest recall"),
    (
        RECALLS.replace("precision >= least", "precision <= least"),
        "cuts with too little precision are taken",
    ),
    (
        RECALLS.replace("found / inside.sum()", "found / found[-1]"),
        "counted among the object's pixels above zero",
    ),
    (RECALLS.replace("heatmap.flatten()", "heatmap.abs().flatten()"), "without its sign"),
    (RECALLS.replace("float(one.max()) if len(one) else 0.0", "float(one.max())"), "stops with"),
    (
        RECALLS.replace("    best = [recall", "    wanted = wanted[:1]\n    best = [recall"),
        "your answer has shape (1,), expected (4,)",
    ),
    (RECALLS.replace("float(one.max())", "100 * float(one.max())"), "100 times the right one"),
]

# ---- 3.15 ----

RIGHT["3.15"] = [
    """
def kinds_of_failure(answers, guesses, targets):
    def area(box):
        return (box[2] - box[0]) * (box[3] - box[1])

    def common(a, b):
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        return max(width, 0) * max(height, 0)

    def kind(answer, guess, target):
        if answer != target["label"]:
            return "wrong class"
        labels = target["labels"].tolist()
        own = [b for b, c in zip(target["boxes"].tolist(), labels) if c == target["label"]]
        overlaps = [common(guess, b) / (area(guess) + area(b) - common(guess, b)) for b in own]
        best = own[overlaps.index(max(overlaps))]
        if max(overlaps) >= 0.5:
            return "right"
        if sum(common(guess, b) >= 0.5 * area(b) for b in own) >= 2:
            return "several objects"
        if area(guess) and common(guess, best) / area(guess) >= 0.75:
            return "part only"
        return "too large" if common(guess, best) / area(best) >= 0.75 else "beside"

    return [kind(*one) for one in zip(answers.tolist(), guesses.tolist(), targets)]
""",
    """
def kinds_of_failure(answers, guesses, targets):
    kinds = np.full(len(answers), "beside", dtype=object)
    for i, target in enumerate(targets):
        own = target["boxes"].numpy()[(target["labels"] == target["label"]).numpy()]
        guess = guesses[i].numpy()
        sides = np.minimum(guess[2:], own[:, 2:]) - np.maximum(guess[:2], own[:, :2])
        both = sides.clip(0).prod(axis=1)
        area, areas = np.prod(guess[2:] - guess[:2]), (own[:, 2:] - own[:, :2]).prod(axis=1)
        iou = both / (area + areas - both)
        best = iou.argmax()
        if both[best] >= 0.75 * areas[best]:
            kinds[i] = "too large"
        if both[best] >= 0.75 * area > 0:
            kinds[i] = "part only"
        if np.count_nonzero(both >= 0.5 * areas) > 1:
            kinds[i] = "several objects"
        if iou[best] >= 0.5:
            kinds[i] = "right"
        if int(answers[i]) != target["label"]:
            kinds[i] = "wrong class"
    return kinds.tolist()
""",
    """
from torchvision.ops import box_area


def kinds_of_failure(answers, guesses, targets):
    kinds = ()
    for answer, guess, target in zip(answers, guesses, targets):
        own = target["boxes"][target["labels"] == target["label"]]
        iou = box_iou(guess[None], own)[0].nan_to_num(0)
        total = box_area(own) + box_area(guess[None])
        both = iou * total / (1 + iou)  # from iou = both / (total - both)
        i = int(iou.argmax())
        of_guess = float(both[i] / box_area(guess[None]).clamp(min=1e-6))
        of_object = both / box_area(own)
        if int(answer) != target["label"]:
            word = "wrong class"
        elif iou[i] >= 0.5:
            word = "right"
        elif len(own[of_object >= 0.5]) >= 2:
            word = "several objects"
        elif of_guess >= 0.75:
            word = "part only"
        elif of_object[i] >= 0.75:
            word = "too large"
        else:
            word = "beside"
        kinds += (word,)
    return kinds
""",
]

KINDS = """
def kinds_of_failure(answers, guesses, targets):
    kinds = []
    for answer, guess, target in zip(answers.tolist(), guesses.double(), targets):
        own = target["boxes"][target["labels"] == target["label"]].double()
        sides = torch.minimum(guess[2:], own[:, 2:]) - torch.maximum(guess[:2], own[:, :2])
        both = sides.clamp(min=0).prod(dim=1)
        area, areas = (guess[2:] - guess[:2]).prod(), (own[:, 2:] - own[:, :2]).prod(dim=1)
        iou = both / (area + areas - both)
        best = iou.argmax()
        if answer != target["label"]:
            kinds.append("wrong class")
        elif iou[best] >= 0.5:
            kinds.append("right")
        elif (both >= areas / 2).sum() >= 2:
            kinds.append("several objects")
        elif area > 0 and both[best] >= 0.75 * area:
            kinds.append("part only")
        elif both[best] >= 0.75 * areas[best]:
            kinds.append("too large")
        else:
            kinds.append("beside")
    return kinds
"""

SEVERAL = """        elif (both >= areas / 2).sum() >= 2:
            kinds.append("several objects")
"""

WRONG["3.15"] = [
    (
        KINDS.replace('answer != target["label"]', "False"),
        "the class of the answer is not looked at",
    ),
    (
        KINDS.replace('if answer != target["label"]:', "if False:").replace(
            'kinds.append("right")',
            'kinds.append("right" if answer == target["label"] else "wrong class")',
        ),
        "the box is looked at before the class",
    ),
    (
        KINDS.replace('[target["labels"] == target["label"]]', ""),
        "instances of all classes are counted",
    ),
    (KINDS.replace("iou.argmax()", "0"), "the first instance is compared"),
    (KINDS.replace("iou.argmax()", "both.argmax()"), "the instance with the largest overlap"),
    (
        KINDS.replace("iou.argmax()", "(both / areas).argmax()"),
        "of which the box holds the largest share",
    ),
    (
        KINDS.replace("part only", "?").replace("too large", "part only").replace("?", "too large"),
        "part only and too large are exchanged",
    ),
    (
        KINDS.replace(SEVERAL, "").replace("        else:\n", SEVERAL + "        else:\n"),
        "too large comes before several objects",
    ),
    (KINDS.replace("both >= areas / 2", "both > 0"), "as soon as it is touched"),
    (
        KINDS.replace("both >= areas / 2", "both >= 0.75 * areas"),
        "all but a quarter of it is inside",
    ),
    (
        KINDS.replace(SEVERAL, "").replace('"wrong class")\n', '"wrong class")\n' + SEVERAL),
        "a box that is right for one instance is called several objects",
    ),
    (KINDS.replace(".sum() >= 2", ".sum() >= 9"), "several objects is never found"),
    (KINDS.replace('"wrong class"', '"wrong_class"'), "'wrong_class', which is not the right one"),
    (KINDS.replace("return kinds", "return kinds[0]"), "results in a tuple or list"),
    (KINDS.replace(".clamp(min=0)", ""), "which is not the right one"),
    (KINDS.replace('target["labels"] ==', 'target["label"] =='), "stops with"),
]
