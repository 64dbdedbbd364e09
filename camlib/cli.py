"""The command: `camlib cam PHOTO`, top five classes and an overlay of their maps as a PNG;
`camlib data check NAME ROOT`, whether a data set on disk is whole; `camlib train`, `evaluate` and
`maps`, see `fullscale_cli`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camlib import fullscale_cli

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code.

    0, or 2 after one line on standard error; 1 where `data check` found something; 3 where a
    training diverged; 130 where one was stopped by Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="camlib", description="Class activation maps.")
    commands = parser.add_subparsers(dest="command", required=True)
    cam_parser = commands.add_parser(
        "cam", help="what an ImageNet network sees in a photo, and where"
    )
    cam_parser.add_argument(
        "photo", help="an image file, or the name of a bundled photograph (coffee, astronaut, ...)"
    )
    cam_parser.add_argument(
        "--class",
        dest="classes",
        metavar="NAME",
        action="append",
        help="whose map (name or index); may be repeated. Without it: the top class",
    )
    cam_parser.add_argument(
        "--output", metavar="FILE", type=Path, help="the PNG; without it PHOTO.cam.png, here"
    )
    cam_parser.add_argument(
        "--box", action="store_true", help="draw and print the box at 20%% of the maximum"
    )
    data_commands = commands.add_parser(
        "data", help="data sets of photographs on your disk"
    ).add_subparsers(dest="data_command", required=True)
    check_parser = data_commands.add_parser(
        "check",
        help="what is missing, broken or other than published",
        description="Reads headers and annotations of all images, or decodes some. Nothing is "
        "downloaded or changed. Exit code 0: whole; 1: something was found; 2: not to be checked.",
    )
    check_parser.add_argument("name", metavar="NAME", help="pets, cub, ilsvrc or folder")
    check_parser.add_argument("root", metavar="ROOT", type=Path, help="the folder it is in")
    check_parser.add_argument(
        "--sample", metavar="N", type=int, default=0, help="decode N images of each split in full"
    )
    check_parser.add_argument(
        "--boxes", metavar="FILE", type=Path, help="for folder: the .csv or COCO .json of boxes"
    )
    fullscale_cli.add_commands(commands)
    options = parser.parse_args(arguments)
    try:
        if options.command in fullscale_cli.COMMANDS:
            return fullscale_cli.run(options, sys.argv[1:] if arguments is None else arguments)
        if options.command == "data":
            from camlib import data_check

            return data_check.check(options.name, options.root, options.sample, options.boxes)
        map_photo(options.photo, options.classes, options.output, options.box)
    except (ValueError, OSError, ImportError) as error:
        print(f"camlib: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def map_photo(
    photo: str, classes: Sequence[str] | None, output: Path | None, with_box: bool
) -> None:
    """Print the top five classes of a photo and write the overlay of the maps asked for."""
    # Here, so that `camlib --help` and a wrong option answer at once.
    from camlib import boxes, cam, networks, photos, plots

    output = output or Path(f"{Path(photo).stem}.cam.png")
    if output.suffix.lower() != ".png":
        raise ValueError(f"the output {output} is written as PNG: give it a name ending in .png")
    if not output.parent.is_dir():
        raise ValueError(f"the folder {output.parent} of the output does not exist")
    if output.is_dir():
        raise ValueError(f"the output {output} is a folder, expected a file name")
    if output.resolve() == Path(photo).resolve():
        raise ValueError(f"the output {output} is the photo itself: give another name")
    bundled = photo in photos.NAMES and not Path(photo).exists()
    image = photos.load(photo).image if bundled else photos.read(photo)

    network = networks.create("lite0")
    names: networks.ClassNames = network.classes  # type: ignore[assignment]
    transform: networks.Transform = network.transform  # type: ignore[assignment]
    chosen = [int(c) if c.isdecimal() else names.index(c) for c in classes or []]
    result = cam.class_activation_maps(network, transform(image)[None], chosen or None)

    probabilities = result.logits[0].softmax(0)
    for c in probabilities.topk(5).indices.tolist():
        print(f"{float(probabilities[c]):6.1%}  {names[c]} ({c})")

    view = transform.view(image)
    titles: list[str] = []
    found: list[Tensor | None] = []
    for c, heatmap in zip(result.classes[0].tolist(), result.maps[0], strict=True):
        titles.append(f"{names[c]} {float(probabilities[c]):.0%}")
        box = None
        if with_box and heatmap.max() > 0:
            box = boxes.box_from_map(cam.upsample(heatmap, (view.height, view.width)))
            in_photo = transform.box_in_photo(box, image.size).round().int().tolist()
            print(f"box of {names[c]}: {in_photo}, (x0, y0, x1, y1) in pixels of the photo")
        elif with_box:
            print(f"no box of {names[c]}: no place speaks for it, its map is nowhere above zero")
        found.append(box)
    fig = plots.side_by_side(view, result.maps[0], titles, shared=False, boxes=found)
    _write_whole(fig, output)
    print(f"written: {output}")


def _write_whole(fig: "Figure", output: Path) -> None:
    """Write a figure beside its target and move it there: nothing half written is ever left."""
    target = output.resolve()  # through a link, so that the link stays
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".png", delete=False) as file:
            temporary = Path(file.name)
        fig.savefig(temporary, bbox_inches="tight")
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # as any new file: a temporary one is its owner's alone
        temporary.replace(target)
    except OSError as error:
        raise ValueError(f"cannot write {output}: {error.strerror}") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
