"""The commands `camlib train`, `evaluate` and `maps`: their options, and what they do.

On several GPUs: torchrun --nproc-per-node 4 -m camlib train ...
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

COMMANDS = ("train", "evaluate", "maps")
DIVERGED = 3
# Nothing heavy is imported before a command runs, so that a wrong option answers at once. Each
# option stands for the field of its name; a test holds these lists and the fields together.
_Options = dict[str, tuple[type, str]]
RECIPE: _Options = {
    "epochs": (int, "passes over the images"),
    "steps": (int, "end after so many steps, if the epochs have not ended by then"),
    "rate": (float, "learning rate at its peak"),
    "batch": (int, "images per step, of all processes together"),
    "momentum": (float, "0 to below 1"),
    "weight-decay": (float, "on every parameter"),
    "warmup": (float, "share of all steps over which the rate grows"),
    "tenth-every": (float, "share of all steps after each of which the rate is divided by ten"),
    "label-smoothing": (float, "0 to below 1"),
    "area": (float, "least share of the image's area in a view, drawn at random; 1: no such cut"),
    "shift": (int, "pixels by which a view is moved at most; only with --area 1"),
    "clip": (float, "largest norm of the whole gradient"),
    "trunk-rate": (float, "learning rate of all but the last layer, as a share of --rate"),
    "seed": (int, "of all chance, the first weights too"),
    "optimizer": (str, "sgd or adamw"),
}
SWITCHES = {"flip": "mirror half of the views", "nesterov": "Nesterov's momentum"}
RUN: _Options = {
    "accumulate": (int, "parts of a batch, one after the other, on each process (1)"),
    "precision": (str, "32-true or bf16-mixed (32-true)"),
    "device": (str, "auto, cpu or cuda (auto)"),
    "size": (int, "of the input in pixels (the network's own)"),
    "workers": (int, "processes that read images, for each that trains (4)"),
    "minutes": (float, "between checkpoints; there is one after each epoch besides (15)"),
    "keep": (int, "how many of the last checkpoints stay (3)"),
    "log-every": (int, "steps from one line of the log to the next (50)"),
}
MAPS: _Options = {
    "view": (str, "whole image, or the network's centre cut: whole or centre (whole)"),
    "size": (int, "of the view in pixels (the network's own)"),
    "batch": (int, "images at once, on each process (64)"),
    "precision": (str, "32-true or bf16-mixed (32-true)"),
    "device": (str, "auto, cpu or cuda (auto)"),
    "workers": (int, "processes that read images (4)"),
    "box-workers": (int, "threads beside the network (4, or as many as there are cores)"),
}


def add_commands(commands: Any) -> None:
    """Add the three commands to the command line's."""
    train = commands.add_parser(
        "train",
        help="train a network on photographs from disk",
        description="Trains, writes checkpoints, log.csv and a run card. Exit code 2: a wrong "
        "option or file; 3: training has diverged. Several GPUs: torchrun -m camlib train ...",
    )
    _add_network_and_data(train, "the split to train on")
    train.add_argument("--output", metavar="FOLDER", type=Path, required=True, help="of the run")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in it")
    train.add_argument(
        "--valid",
        metavar="SPLIT",
        help="measure the accuracy on this split after each epoch; for folder: another folder",
    )
    recipe = train.add_argument_group("recipe")
    recipe.add_argument(
        "--recipe",
        default="fine-tuning",
        metavar="NAME",
        help="fine-tuning, or authors: the solver of the paper's authors. Options change it",
    )
    _add(recipe, RECIPE)
    for name, text in SWITCHES.items():
        recipe.add_argument(
            f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=text
        )
    _add(train.add_argument_group("how it is carried out"), RUN)

    evaluate = commands.add_parser(
        "evaluate",
        help="classification and localization error, GT-known, PxAP of a network, with intervals",
    )
    _add_network_and_data(evaluate, "the split to evaluate on")
    evaluate.add_argument(
        "--threshold", metavar="SHARE", type=float, help="of the box, a share of the maximum (0.2)"
    )
    evaluate.add_argument(
        "--max-box-acc-v2", action="store_true", default=None, help="measure it too; takes longer"
    )
    evaluate.add_argument(
        "--no-maps", dest="maps", action="store_false", default=None, help="classification alone"
    )
    evaluate.add_argument("--output", metavar="FILE", type=Path, help="also as JSON")
    _add(evaluate, MAPS)

    maps = commands.add_parser(
        "maps", help="the maps of a data set as .npy files, as wsolevaluation reads them"
    )
    _add_network_and_data(maps, "the split to map")
    maps.add_argument(
        "--output", metavar="FOLDER", type=Path, required=True, help="FOLDER/scoremaps/NAME.npy"
    )
    maps.add_argument(
        "--of",
        choices=("label", "top"),
        default="label",
        help="whose map: the image's class (label), or the class with the highest score",
    )
    maps.add_argument(
        "--keep-extension",
        action="store_true",
        help="NAME.JPEG.npy, as wsolevaluation's code opens them",
    )
    _add(maps, MAPS)


def _add_network_and_data(parser: argparse.ArgumentParser, split: str) -> None:
    parser.add_argument(
        "network",
        metavar="NETWORK",
        help="a name, camlib's or timm's; a checkpoint, or the folder of a run",
    )
    parser.add_argument("dataset", metavar="DATASET", help="pets, cub, ilsvrc, folder or lab")
    parser.add_argument("root", metavar="ROOT", nargs="?", help="the folder it is in; lab has none")
    parser.add_argument("--split", metavar="NAME", help=split)
    parser.add_argument(
        "--boxes", metavar="FILE", type=Path, help="for folder: the .csv or COCO .json of boxes"
    )
    parser.add_argument("--limit", metavar="N", type=int, help="only N images, evenly spread")
    parser.add_argument(
        "--scale", default="paper", metavar="SCALE", help="of a network by name: paper or lab"
    )
    parser.add_argument(
        "--pretrained",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of a network by name: trained weights, or random ones",
    )


def _add(parser: Any, options: _Options) -> None:
    for name, (kind, text) in options.items():
        parser.add_argument(f"--{name}", metavar=kind.__name__.upper(), type=kind, help=text)


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Carry out one of the commands; returns its exit code.

    Raises:
        ValueError, OSError, ImportError: for what cannot be done, in one line.
    """
    import torch

    command = {"train": _train, "evaluate": _evaluate, "maps": _maps}[options.command]
    try:
        code = command(options, shlex.join(["camlib", *arguments]))
    except (ValueError, OSError) as error:
        # What a process that reads images raised comes wrapped in its traceback.
        if not str(error).startswith("Caught "):
            raise
        last = str(error).strip().splitlines()[-1]
        raise type(error)(last.partition(": ")[2]) from error
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return code


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The fields whose options were given."""
    fields = {name.replace("-", "_") for name in names}
    return {f: v for f, v in vars(options).items() if f in fields and v is not None}


def _describe_data(options: argparse.Namespace, split: str | None = None) -> str:
    from camlib.fullscale_data import SPLITS

    split = split or options.split or SPLITS.get(options.dataset, (None, None))[1]
    words = [options.dataset, options.root, split]
    return " ".join(str(word) for word in words if word is not None)


def _train(options: argparse.Namespace, command: str) -> int:
    from dataclasses import replace

    import torch

    from camlib import fullscale, photos
    from camlib.fullscale_checkpoints import open_network
    from camlib.fullscale_data import SPLITS, open_dataset

    name = options.dataset
    if options.recipe not in fullscale.RECIPES:
        hint = photos.did_you_mean(options.recipe, fullscale.RECIPES)
        raise ValueError(f"there is no recipe {options.recipe!r}{hint}")
    base = fullscale.RECIPES[options.recipe]
    split = options.split or SPLITS.get(name, (None,))[0]
    recipe = replace(base, **_given(options, *RECIPE, *SWITCHES))
    settings = fullscale.Run(
        folder=options.output,
        resume=options.resume,
        command=command,
        dataset=_describe_data(options, split),
        **_given(options, *RUN),
    )
    data = open_dataset(name, options.root, split, boxes=options.boxes, limit=options.limit)
    valid = None
    if options.valid is not None and name == "folder":
        valid = open_dataset(name, options.valid)
    elif options.valid is not None:
        valid = open_dataset(name, options.root, options.valid)
    torch.manual_seed(recipe.seed)  # of the new layers' first weights
    network = open_network(options.network, len(data.classes), options.pretrained, options.scale)
    if network.classes is not None and len(network.classes) != len(data.classes):
        network.reset_classifier(len(data.classes))  # a checkpoint for other classes
    network.classes = tuple(data.classes)
    try:
        history = fullscale.train(network, data, recipe, settings, valid=valid)
    except FloatingPointError as error:  # on all processes
        if _is_first():
            print(f"camlib: {error}", file=sys.stderr)
        return DIVERGED
    except KeyboardInterrupt:
        if _is_first():
            print(f"camlib: stopped; with --resume the same command goes on: {command}")
        return 130
    if _is_first():
        print(f"loss {history.loss[-1]:.4f}, accuracy {history.accuracy[-1]:.4f}")
        print(f"written: {Path(options.output) / 'run.md'}")
    return 0


def _network_and_data(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    from camlib.fullscale_checkpoints import open_network
    from camlib.fullscale_data import open_dataset
    from camlib.fullscale_evaluation import Evaluation

    settings = Evaluation(**_given(options, *MAPS, "threshold", "max-box-acc-v2", "maps"))
    data = open_dataset(
        options.dataset, options.root, options.split, boxes=options.boxes, limit=options.limit
    )
    classes = None if options.pretrained else len(data.classes)
    network = open_network(options.network, classes, options.pretrained, options.scale)
    return network, data, settings


def _evaluate(options: argparse.Namespace, command: str) -> int:
    from camlib import fullscale_evaluation
    from camlib.fullscale_card import versions, write_text
    from camlib.fullscale_intervals import LEVEL

    if options.output is not None and not options.output.parent.is_dir():
        raise ValueError(f"the folder {options.output.parent} of the output does not exist")
    if options.output is not None and options.output.is_dir():
        raise ValueError(f"the output {options.output} is a folder, expected a file")
    network, data, settings = _network_and_data(options)
    measures = fullscale_evaluation.evaluate(network, data, settings)
    if not _is_first():
        return 0
    print("\n".join(fullscale_evaluation.report(measures, settings.threshold)))
    if options.output is not None:
        card = {
            "command": command,
            "network": options.network,
            "data": _describe_data(options),
            "versions": versions(),
            "settings": asdict(settings),
            "interval_level": LEVEL,
            "measures": asdict(measures),
        }
        write_text(options.output, json.dumps(card, indent=1) + "\n")
        print(f"written: {options.output}")
    return 0


def _maps(options: argparse.Namespace, command: str) -> int:
    from camlib import fullscale_evaluation

    network, data, settings = _network_and_data(options)
    scale = "" if Path(options.network).exists() else f" ({options.scale})"
    written = fullscale_evaluation.write_maps(
        network,
        data,
        options.output,
        settings,
        of=options.of,
        keep_extension=options.keep_extension,
        description=f"{options.network}{scale} on {_describe_data(options)}",
    )
    print(f"written: {written} of {len(data)} maps, {options.output / 'scoremaps'}")
    return 0


def _is_first() -> bool:
    import torch

    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
