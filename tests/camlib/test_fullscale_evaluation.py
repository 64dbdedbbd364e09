"""Evaluation and maps at full scale against camlib.evaluation, and two processes against one."""

import numpy as np
import pytest
import timm
import torch
from fullscale_world import Tiny, write_folder
from scipy.stats import binomtest

from camlib import (
    boxes,
    cam,
    cli,
    evaluation,
    fullscale_evaluation,
    fullscale_intervals,
    metrics,
    networks,
    photos,
)
from camlib.datasets import Folder
from camlib.fullscale_data import (
    EvaluationViews,
    Spread,
    create_network,
    expect_classes,
    open_dataset,
)
from camlib.fullscale_evaluation import Evaluation, evaluate, write_maps
from camlib.lab import StickerWorld

COUNT = 13  # of three batches of 5 one is short
SETTINGS = Evaluation(batch=5, workers=0, progress=False, device="cpu", max_box_acc_v2=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network():
    return networks.create("googlenet-gap", pretrained=True, scale="lab")


@pytest.fixture(scope="module")
def world():
    return StickerWorld("valid", length=COUNT, instances=(1, 3), second_class=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "pictures", each=3)


def changed(**options):
    return Evaluation(**{**SETTINGS.__dict__, **options})


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_measures_are_those_of_all_five_boxes(network, world, threshold):
    found = evaluate(network, world, changed(threshold=threshold))
    pictures = evaluation.split(world)
    mapped = evaluation.map_split(network, pictures)
    errors = evaluation.localization_errors(mapped, pictures.targets, threshold)
    assert found.top1 == metrics.top_k_error(mapped.logits, pictures.labels).mean()
    assert found.top5 == metrics.top_k_error(mapped.logits, pictures.labels, 5).mean()
    assert found.localization_top1 == errors["top-1"].mean()
    assert found.localization_top5 == errors["top-5"].mean()
    assert found.gt_known == errors["GT-known"].mean()
    maps = cam.upsample(mapped.maps[:, -1], 96)
    assert found.px_ap == pytest.approx(metrics.px_ap(maps, pictures.masks), abs=1e-4)
    ious = metrics.level_ious(maps, pictures.boxes, "all")
    assert found.max_box_acc_v2 == pytest.approx(metrics.max_box_acc_v2(ious))
    assert (found.images, found.with_boxes, found.with_masks) == (COUNT, COUNT, COUNT)
    # The numbers tell things apart.
    assert len({found.top1, found.localization_top1, found.px_ap, found.max_box_acc_v2}) == 4


def overlap_of(a, b):
    sides = [max(0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


@pytest.mark.parametrize("trained", [True, False])
def test_a_box_for_each_of_the_five_classes_changes_nothing(trained):
    """The rule of ILSVRC word by word: five classes, each with the box of its own map."""
    torch.manual_seed(2)
    network = networks.create("googlenet-gap", 16, pretrained=trained, scale="lab").eval()
    world = StickerWorld("valid", length=48, instances=(1, 3), second_class=True)
    found = evaluate(network, world, changed(max_box_acc_v2=False))
    pictures = evaluation.split(world)
    mapped = evaluation.map_split(network, pictures)  # of five classes and of the true one
    missed = {1: [], 5: []}
    for i, target in enumerate(pictures.targets):
        own = [
            box
            for box, label in zip(target["boxes"].tolist(), target["labels"], strict=True)
            if label == target["label"]
        ]
        fits = []
        for guess, heatmap in zip(mapped.classes[i, :5], mapped.maps[i, :5], strict=True):
            box = boxes.boxes_from_maps(cam.upsample(heatmap[None], 96), SETTINGS.threshold)[0]
            right = any(overlap_of(box.tolist(), true) >= 0.5 for true in own)
            fits.append(bool(guess == target["label"]) and right)
        for k, misses in missed.items():
            misses.append(not any(fits[:k]))
    assert found.localization_top1 == np.mean(missed[1])
    assert found.localization_top5 == np.mean(missed[5])
    if trained:  # a second guess has saved some
        assert found.localization_top5 < found.localization_top1 < 1


def test_equal_scores_are_missed_with_and_without_a_box(world):
    seen = [EvaluationViews(world, Tiny().transform)[i] for i in range(4)]
    maps = torch.zeros(4, 32, 32)
    for heatmap, view in zip(maps, seen, strict=True):
        x0, y0, x1, y1 = view.boxes[0].round().int().tolist()
        heatmap[y0:y1, x0:x1] = 1
    rows = fullscale_evaluation._count(
        seen, torch.zeros(4, 16), maps, None, changed(max_box_acc_v2=False)
    ).rows
    assert rows[:, 6].tolist() == [0, 0, 0, 0]  # the boxes fit
    assert rows[:, 1:3].tolist() == rows[:, 4:6].tolist() == [[1, 1]] * 4


# ---- intervals ----


def test_wilson_is_that_of_scipy():
    for images in (1, 2, 13, 997, 50_000):
        for missed in {0, 1, images // 3, images - 1, images}:
            found = fullscale_intervals.wilson(missed / images, images)
            theirs = binomtest(missed, images).proportion_ci(0.95, method="wilson")
            assert found == pytest.approx(tuple(theirs), abs=1e-12)
            assert 0 <= found[0] <= missed / images <= found[1] <= 1
    assert fullscale_intervals.wilson(0.0, 13)[0] == 0
    assert fullscale_intervals.wilson(1.0, 13)[1] == 1
    narrower = fullscale_intervals.wilson(0.3, 10, level=0.5)
    assert narrower == pytest.approx(tuple(binomtest(3, 10).proportion_ci(0.5, "wilson")))
    for wrong in ((0.5, 0), (1.5, 10), (float("nan"), 10)):
        with pytest.raises(ValueError, match="a share from 0 to 1 of at least one image"):
            fullscale_intervals.wilson(*wrong)


def percentiles(measures):
    return np.percentile(measures, [2.5, 97.5])


def test_the_bootstrap_draws_whole_images_again():
    chance = np.random.default_rng(1)
    maps = torch.from_numpy(chance.random((40, 6, 8)))
    masks = (
        torch.from_numpy(chance.random((40, 6, 8)))
        < maps * torch.linspace(0.1, 1, 40)[:, None, None]
    )
    counts = metrics.pixel_counts(maps, masks)
    found = fullscale_intervals.bootstrap(counts, fullscale_intervals.px_ap_of_sums)
    # Other draws, and PxAP of the drawn images anew.
    draws = chance.integers(40, size=(1000, 40))
    theirs = percentiles([metrics.px_ap(maps[draw], masks[draw]) for draw in draws])
    width = theirs[1] - theirs[0]
    assert found == pytest.approx(theirs, abs=0.12 * width)
    assert found[0] < metrics.px_ap(maps, masks) < found[1]
    # A quarter of the images: twice as wide.
    few = fullscale_intervals.bootstrap(counts[::4], fullscale_intervals.px_ap_of_sums)
    assert 1.4 < (few[1] - few[0]) / width < 2.8


def test_draws_without_a_true_pixel_are_left_out():
    counts = torch.zeros(2, 2, 1001, dtype=torch.int64)
    counts[0, 1, 500] = counts[1, 0, 500] = 3  # an image all true, and one without
    low, high = fullscale_intervals.bootstrap(counts, fullscale_intervals.px_ap_of_sums)
    assert (low, high) == (0.5, 1.0)


def test_px_ap_of_many_sums_is_that_of_each():
    torch.manual_seed(0)
    sums = torch.randint(100, (5, 2, 1001)).double()
    sums[0, :, :900] = 0
    each = [metrics.px_ap_of_counts(one) for one in sums]
    assert fullscale_intervals.px_ap_of_sums(sums).tolist() == pytest.approx(each, abs=1e-12)


def test_intervals_of_an_evaluation(network, world):
    found = evaluate(network, world, SETTINGS)
    names = ["top1", "top5", "localization_top1", "localization_top5", "gt_known"]
    for name in names:
        share = getattr(found, name)
        truth = binomtest(round(share * COUNT), COUNT).proportion_ci(0.95, method="wilson")
        assert found.intervals[name] == pytest.approx(tuple(truth))
    assert sorted(found.intervals) == sorted([*names, "px_ap", "max_box_acc_v2"])

    pictures = evaluation.split(world)
    maps = cam.upsample(evaluation.map_split(network, pictures, top=0).maps[:, 0], 96)
    counts = metrics.pixel_counts(maps, pictures.masks)
    ious = metrics.level_ious(maps, pictures.boxes, "all")
    draws = np.random.default_rng(0).integers(COUNT, size=(1000, COUNT))
    for name, theirs in (
        ("px_ap", [metrics.px_ap_of_counts(counts[draw].sum(dim=0)) for draw in draws]),
        ("max_box_acc_v2", [metrics.max_box_acc_v2(ious[draw]) for draw in draws]),
    ):
        low, high = percentiles(theirs)
        assert found.intervals[name] == pytest.approx((low, high), abs=0.15 * (high - low))
        assert high - low > 0.01
    # The order in which images were counted does not enter.
    other = evaluate(network, world, changed(batch=2))
    for name in [*names, "max_box_acc_v2"]:
        assert other.intervals[name] == found.intervals[name]
    none = evaluate(network, world, changed(maps=False, max_box_acc_v2=False))
    assert sorted(none.intervals) == ["top1", "top5"]


def test_a_report_fits_a_terminal():
    shares = dict.fromkeys(("top1", "top5", "localization_top1", "localization_top5"), 1.0)
    measures = fullscale_evaluation.Measures(
        images=1_281_167,
        with_boxes=1_281_167,
        with_masks=1_281_167,
        gt_known=0.4322,
        px_ap=1.0,
        max_box_acc_v2=1.0,
        intervals={
            **dict.fromkeys([*shares, "px_ap", "max_box_acc_v2"], (1.0, 1.0)),
            "gt_known": (0.42781, 0.43651),
        },
        seconds=1.0,
        **shares,
    )
    lines = fullscale_evaluation.report(measures, 0.2)
    assert max(map(len, lines)) <= 80
    (line,) = (line for line in lines if "GT-known" in line)
    assert line.split(maxsplit=3)[3] == "43.22%  42.78% to 43.65%    (box at 20%)"
    assert "95 % interval" in lines[1]
    assert len({line.index("% to") for line in lines if "% to" in line and "GT" not in line}) == 1
    assert any("MaxBoxAccV2" in line and "level chosen here" in line for line in lines)


# ---- how it is carried out ----


def test_the_same_numbers_for_other_batches_and_threads(network, world):
    expected = evaluate(network, world, SETTINGS)
    for options in ({"batch": 1}, {"batch": 64}, {"box_workers": 1}, {"view": "centre"}):
        options.setdefault("max_box_acc_v2", "view" not in options)
        found = evaluate(network, world, changed(**options))
        assert found.gt_known == expected.gt_known
        assert found.localization_top1 == expected.localization_top1
        assert found.px_ap == pytest.approx(expected.px_ap, abs=1e-4)


def test_half_precision_and_workers(network, world):
    expected = evaluate(network, world, SETTINGS)
    assert evaluate(network, world, changed(workers=2)).px_ap == expected.px_ap
    half = evaluate(network, world, changed(precision="bf16-mixed"))
    assert half.px_ap == pytest.approx(expected.px_ap, abs=0.01)
    assert half.px_ap != expected.px_ap


def test_half_precision_makes_no_scores_equal(root):
    data, network = open_dataset("folder", root), Tiny().eval()
    torch.nn.init.zeros_(network.head.weight)
    network.head.bias.data = torch.tensor([10.0, 10.01, 9.99, 10.0])  # in eight bits all the same
    for maps in (True, False):
        settings = changed(max_box_acc_v2=False, precision="bf16-mixed", maps=maps)
        assert evaluate(network, data, settings).top1 == 0.75  # one class of four is right
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.zeros(1, 3, 32, 32)).unique().numel() == 1


def test_classification_needs_no_protocol(root):
    class Plain(torch.nn.Module):
        transform = Tiny().transform

        def forward(self, images):
            return images.mean(dim=(2, 3)) @ torch.eye(3, 4)

    settings = changed(max_box_acc_v2=False, maps=False, precision="bf16-mixed")
    assert 0 < evaluate(Plain().eval(), open_dataset("folder", root), settings).top1 <= 1


def test_images_without_boxes_and_masks_count_for_the_classes_alone(root):
    boxed = open_dataset("folder", root, boxes=root.with_suffix(".csv"))
    some = Folder(root, root.with_suffix(".csv"))
    del some._boxes[some.names[0]]
    none = open_dataset("folder", root)
    settings = changed(max_box_acc_v2=False)
    found = [evaluate(Tiny().eval(), data, settings) for data in (boxed, some, none)]
    assert [m.with_boxes for m in found] == [12, 11, 0]
    assert len({m.top1 for m in found}) == 1
    assert found[2].gt_known is found[2].localization_top1 is found[0].px_ap is None
    assert found[0].top5 is None  # of four classes there are no five
    assert found[0].gt_known is not None


def test_pixels_left_out_count_on_neither_side():
    torch.manual_seed(0)
    maps, masks = torch.rand(3, 6, 8), torch.rand(3, 6, 8) < 0.3
    ignored = torch.rand(3, 6, 8) < 0.4
    # Each map keeps its extremes, for it is scaled by them wherever they are.
    maps[:, 0, 0], maps[:, 0, 1], ignored[:, 0, :2] = 0, 1, False
    counts = metrics.pixel_counts(maps, masks & ~ignored, ignored).sum(dim=0)
    kept = [(m[~i], t[~i]) for m, t, i in zip(maps, masks, ignored, strict=True)]
    each = [metrics.pixel_counts(m[None, None], t[None, None])[0] for m, t in kept]
    assert torch.equal(counts, sum(each))
    assert counts.sum() == (~ignored).sum()
    assert metrics.px_ap_of_counts(counts) != metrics.px_ap(maps, masks)


class Bordered(Spread):
    """Pictures with a border whose truth is not known, as the Pets have."""

    def __getitem__(self, i):
        image, target = super().__getitem__(i)
        edge = torch.zeros(1, 96, 96, dtype=torch.bool)
        edge[:, 20:50] = True
        return image, {**target, "border": edge}


def test_an_unknown_border_is_left_out(network, world):
    found = evaluate(network, Bordered(world, COUNT), SETTINGS)
    pictures = evaluation.split(world)
    maps = cam.upsample(evaluation.map_split(network, pictures, top=0).maps[:, 0], 96)
    unknown = torch.zeros_like(pictures.masks)
    unknown[:, 20:50] = True
    counts = metrics.pixel_counts(maps, pictures.masks, unknown).sum(dim=0)
    assert found.px_ap == pytest.approx(metrics.px_ap_of_counts(counts), abs=1e-4)
    assert abs(found.px_ap - evaluate(network, world, SETTINGS).px_ap) > 1e-3


def test_boxes_for_max_box_acc_are_those_of_wsolevaluation():
    def theirs(box, size, resize):  # first and last pixel, resized and cut to whole numbers
        x0, y0, x1, y1 = box
        return [
            int(x0 * resize / size[0]),
            int(y0 * resize / size[1]),
            int((x1 - 1) * resize / size[0]),
            int((y1 - 1) * resize / size[1]),
        ]

    chance = np.random.default_rng(0)
    for _ in range(200):
        size = chance.integers(50, 600, 2)
        x, y = (np.sort(chance.choice(side + 1, 2, replace=False)) for side in size)
        box = [int(x[0]), int(y[0]), int(x[1]), int(y[1])]
        scale = (224 / int(size[0]), 224 / int(size[1]))
        inside = torch.tensor([box]) * torch.tensor(scale * 2, dtype=torch.float64)
        view = fullscale_evaluation.View(
            0, "", torch.zeros(3, 224, 224), 0, inside, scale, None, None
        )
        whole = fullscale_evaluation._whole_pixels(view)[0] - torch.tensor([0, 0, 1, 1])
        assert whole.tolist() == theirs(box, size.tolist(), 224)


def test_networks_of_timm_and_those_without_maps(root):
    data = open_dataset("folder", root)
    network = create_network("resnet10t", 4)
    theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    photo = photos.load("coffee").image
    assert torch.allclose(network.transform(photo), theirs(photo), atol=1e-6)
    settings = changed(max_box_acc_v2=False, size=32)
    assert evaluate(network, data, settings).images == 12
    fc = networks.create("alexnet", 4, scale="lab")
    with pytest.raises(ValueError, match="no weight belongs to one channel"):
        evaluate(fc, data, settings)
    assert evaluate(fc, data, changed(max_box_acc_v2=False, maps=False)).gt_known is None
    maximum = networks.create("googlenet-gmp", 4, scale="lab")  # as the paper maps it
    assert evaluate(maximum, data, settings).images == 12
    with pytest.raises(ValueError, match="'resnet10'"):
        create_network("resnet10")
    with pytest.raises(ValueError, match="scores for 16 classes, but the data set has 4"):
        evaluate(networks.create("nin", scale="lab"), data, settings)
    with pytest.raises(ValueError, match="scores for 4 classes, but the data set has 16"):
        evaluate(Tiny().eval(), StickerWorld("valid", length=12), settings)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"view": "left"}, "view is 'left'"),
        ({"batch": 0}, "batch is 0"),
        ({"view": "centre", "max_box_acc_v2": True}, "max_box_acc_v2 is True"),
    ],
)
def test_evaluations_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        Evaluation(**wrong)


# ---- maps ----


@pytest.fixture
def mapped(root, tmp_path):
    data, network = open_dataset("folder", root), Tiny().eval()
    settings = changed(max_box_acc_v2=False)
    folder = tmp_path / "maps"
    assert write_maps(network, data, folder, settings) == 12
    return network, data, folder, settings


def test_maps_are_those_of_the_label_scaled_to_one(mapped):
    network, data, folder, _ = mapped
    files = sorted((folder / "scoremaps").rglob("*"))
    names = [p.relative_to(folder / "scoremaps").as_posix() for p in files if p.is_file()]
    assert names == sorted(name.replace(".png", ".npy") for name in data.names)
    for i in (0, 7):
        image, target = data[i]
        inputs = network.transform(image.permute(1, 2, 0).numpy())[None]
        heatmap = cam.upsample(
            cam.class_activation_maps(network, inputs, [target["label"]]).maps[0, 0], 32
        )
        found = np.load(folder / "scoremaps" / data.names[i].replace(".png", ".npy"))
        assert found.dtype == np.float32
        assert found.min() == 0
        assert found.max() == 1
        scaled = (heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())
        assert np.abs(found - scaled.numpy()).max() < 0.01  # Pillow rounds otherwise than torch
        assert np.abs(found - scaled.numpy().T).max() > 0.1


def test_only_what_is_missing_or_cut_short_is_made_again(mapped):
    network, data, folder, settings = mapped
    files = sorted((folder / "scoremaps").rglob("*.npy"))
    content = {path: path.read_bytes() for path in files}
    files[0].unlink()
    files[3].write_bytes(content[files[3]][:-100])
    np.save(files[5], np.zeros((4, 4), np.float32))
    times = {path: path.stat().st_mtime_ns for path in files[1:] if path != files[3]}
    assert write_maps(network, data, folder, settings) == 3
    assert {path: path.read_bytes() for path in files} == content
    unchanged = [path for path in times if path.stat().st_mtime_ns == times[path]]
    assert len(unchanged) == 9
    assert write_maps(network, data, folder, settings) == 0


def test_all_look_what_is_missing_before_one_writes(root, tmp_path, monkeypatch):
    """Else a process that looks late would share out another list, and images be left out."""
    happened, launched = [], fullscale_evaluation.launched

    def noted(what, function):
        def call(*given):
            happened.append(what)
            return function(*given)

        return call

    def launched_and_noted(*given):
        fabric = launched(*given)
        fabric.barrier = noted("barrier", fabric.barrier)
        return fabric

    monkeypatch.setattr(fullscale_evaluation, "launched", launched_and_noted)
    for name in ("_is_whole", "_write_map"):
        noted_one = noted(name, getattr(fullscale_evaluation, name))
        monkeypatch.setattr(fullscale_evaluation, name, noted_one)
    settings = changed(max_box_acc_v2=False)
    assert write_maps(Tiny().eval(), open_dataset("folder", root), tmp_path / "a", settings) == 12
    last_look = max(i for i, what in enumerate(happened) if what == "_is_whole")
    assert "barrier" in happened[last_look : happened.index("_write_map")]


def test_other_maps_are_not_mixed_in(mapped, tmp_path):
    network, data, folder, settings = mapped
    with pytest.raises(ValueError, match=r"other maps: weights is '[0-9a-f]{12}' and was"):
        write_maps(Tiny(seed=2).eval(), data, folder, settings)
    with pytest.raises(ValueError, match="other maps: of is 'top' and was 'label'"):
        write_maps(network, data, folder, settings, of="top")
    with pytest.raises(ValueError, match="other maps: size is 16 and was 32"):
        write_maps(network, data, folder, changed(max_box_acc_v2=False, size=16))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("")
    with pytest.raises(ValueError, match=r"not empty and has no maps\.json"):
        write_maps(network, data, tmp_path / "other", settings)


def test_a_name_at_another_place_is_another_order():
    class Known:
        name = "known"

    data = Known()
    data.classes = ("cat", "crane", "dog", "crane")
    for classes in (
        None,
        ("cat", "crane", "dog", "crane"),
        ("cat", "crane", "hound", "machine"),  # other words
        ("a", "b", "c", "d"),
        ("dog", "cat"),  # of a head that has been replaced
    ):
        data.network = Known()
        data.network.classes = classes
        expect_classes(data.network, data, 4)
    for classes in (("dog", "crane", "cat", "crane"), ("wolf", "crane", "cat", "dog")):
        data.network.classes = classes
        with pytest.raises(ValueError, match=r"in another order: its class 0 is '(dog|wolf)'"):
            expect_classes(data.network, data, 4)


def test_labels_of_other_classes_have_no_maps(root, tmp_path):
    nin, settings = networks.create("nin", scale="lab"), changed(max_box_acc_v2=False)
    data = open_dataset("folder", root)
    with pytest.raises(ValueError, match="scores for 16 classes, but the data set has 4"):
        write_maps(nin, data, tmp_path, settings)
    assert not list(tmp_path.rglob("*.npy"))
    assert write_maps(nin, data, tmp_path / "top", settings, of="top") == 12


def test_names_that_cannot_be_files(root, tmp_path):
    settings, network = changed(max_box_acc_v2=False), Tiny().eval()
    data = Spread(open_dataset("folder", root), 2)
    for names, said in (
        (["../a.png", "b.png"], "outside of"),
        (["/a.png", "b.png"], "outside of"),
        (["a.png", "a.jpg"], "two images would be written"),
    ):
        data.names = names
        with pytest.raises(ValueError, match=said):
            write_maps(network, data, tmp_path, settings)
    assert write_maps(network, data, tmp_path, settings, keep_extension=True) == 2
    assert (tmp_path / "scoremaps" / "a.jpg.npy").exists()


def test_the_top_class_from_the_command(tmp_path, capsys):
    command = "maps alexnet-gap lab --scale lab --limit 5 --batch 2 --workers 0 --device cpu"
    assert cli.main([*command.split(), "--of", "top", "--output", str(tmp_path / "maps")]) == 0
    assert "written: 5 of 5 maps" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "maps" / "scoremaps").glob("*.npy"))
    assert names == [f"{i:06d}.npy" for i in range(5)]
    # At paper scale there are other classes.
    wrong = "evaluate lite0 lab --limit 2 --workers 0 --device cpu"
    assert cli.main(wrong.split()) == 2
    assert "1000 classes, but the data set has 16" in capsys.readouterr().err
