"""Commands that use weights: evaluate, predict, convert, export."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pfpn.cli.command import (
    MOST,
    Command,
    add_device,
    byte_bar,
    complain,
    folder_name,
    image_bar,
    require_elsewhere,
    require_within,
    say,
)

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    import torch
    from jaxtyping import UInt8
    from torch import Tensor

    from pfpn.data.loader import PanopticDataset
    from pfpn.data.predictions import PredictionWriter
    from pfpn.engine.checkpoint import Trained
    from pfpn.files import Output
    from pfpn.predict import Prediction
    from pfpn.structures import Category, Panoptic, Sample

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ALL = "panoptic.json"  # of all images that `predict` was given
STRIP = 512  # rows of a picture that are painted at once


THRESHOLDS = {
    "min_score": (float, "instances with a lower score are left out of the panoptic map"),
    "max_overlap": (float, "largest part of an instance that better ones may cover"),
    "min_stuff_area": (int, "pixels; smaller regions of stuff become void"),
}


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a trained model, and the thresholds of merging."""
    parser.add_argument(
        "weights",
        help='a .safetensors file, the folder of a run, or "toy": the weights that come with pfpn',
    )
    for name, (kind, text) in THRESHOLDS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar="X", help=f"{text} (default: stored)"
        )


def load_model(name: str, device: "torch.device | str") -> "Trained":
    """Return the trained model of a file, of a run, or the one that comes with pfpn."""
    import os

    from pfpn.engine.checkpoint import load_weights
    from pfpn.shipped import TOY_WEIGHTS, shipped

    is_shipped = name == "toy" and not os.path.exists(name)
    return load_weights(shipped(TOY_WEIGHTS) if is_shipped else name, device)


def _load(arguments: argparse.Namespace, device: "torch.device") -> "Trained":
    """Return the model that the arguments name, with their thresholds."""
    from dataclasses import replace

    trained = load_model(arguments.weights, device)
    given = {key: getattr(arguments, key) for key in THRESHOLDS}
    changes = {key: value for key, value in given.items() if value is not None}
    return replace(trained, predict=replace(trained.predict, **changes))


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    add_weights(parser)
    parser.add_argument(
        "--data", required=True, metavar="ROOT", help='folder in COCO panoptic format, or "toy"'
    )
    parser.add_argument("--split", default="val", metavar="NAME", help="default: val")
    parser.add_argument(
        "--images", type=int, default=0, metavar="N", help="the first N only; toy: draw N (100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the drawn world (default: 0)")
    parser.add_argument(
        "--save", metavar="DIR", help="also write DIR.json and DIR/*.png in COCO panoptic format"
    )
    parser.add_argument("--no-ap", action="store_true", help="leave out box and mask AP: quicker")
    add_device(parser)
    parser.add_argument("--json", metavar="FILE", help="also write everything measured here")


def _evaluate(arguments: argparse.Namespace) -> int:
    import json
    from contextlib import ExitStack
    from pathlib import Path

    from pfpn.data.loader import open_dataset
    from pfpn.engine import distributed
    from pfpn.engine.evaluate import evaluate, require_same_categories

    require_within(arguments, 0, MOST, "images")
    with distributed.join(arguments.device) as process, ExitStack() as stack:
        trained = _load(arguments, process.device)
        dataset = open_dataset(
            arguments.data, arguments.split, num=arguments.images or 100, seed=arguments.seed
        )
        require_same_categories(trained.categories, dataset.categories)
        num_images = min(len(dataset), arguments.images or len(dataset))
        if not num_images:
            raise ValueError(
                f"{arguments.data}: found 0 images with annotations in {arguments.split}, expected "
                "some to score on. `pfpn predict` takes photographs without annotations"
            )
        scores, writer = _open_outputs(arguments, dataset, num_images, process.is_main, stack)
        num_own = len(range(process.rank, num_images, process.world))
        with image_bar(num_own, process.is_main) as on_image:

            def take(sample: "Sample", prediction: "Prediction") -> None:
                if writer is not None:
                    writer.add(prediction.panoptic, sample.image_id)
                on_image()

            result = evaluate(
                trained.model,
                dataset,
                trained.predict,
                max_images=arguments.images,
                with_ap=not arguments.no_ap,
                on_image=take,
            )
        saved = distributed.gather(writer.annotations if writer is not None else [])
        if process.is_main:
            if writer is not None:
                writer.finish([entry for part in saved for entry in part])
            say(result.table())
            if scores is not None:
                text = json.dumps(result.as_dict(), indent=2) + "\n"
                scores.write(Path(arguments.json).name, text.encode())
    return 0


def _open_outputs(
    arguments: argparse.Namespace,
    dataset: "PanopticDataset",
    num_images: int,
    is_main: bool,
    stack: "ExitStack",
) -> "tuple[Output | None, PredictionWriter | None]":
    """Claim what `evaluate` is to write, before anything is computed: (--json, --save).

    Only the main process claims, and waits for nobody; the others write beside it.
    """
    from pathlib import Path

    from pfpn.data.coco import CocoPanoptic
    from pfpn.data.predictions import PredictionWriter
    from pfpn.engine import distributed
    from pfpn.files import Output, claim, claim_file

    scores, writer = None, None
    if is_main and arguments.json is not None:
        scores = stack.enter_context(claim_file(arguments.json, "evaluate", [arguments.weights]))
    if arguments.save is not None:
        if not arguments.save:
            raise ValueError("--save: found no name, expected that of a folder")
        folder = Path(arguments.save)
        if isinstance(dataset, CocoPanoptic):
            require_elsewhere("--save", folder, dataset.paths)
        is_there = stack.enter_context(claim(folder, "evaluate")) if is_main else None
        distributed.wait_for_all()
        output = is_there or Output(folder, "evaluate")
        writer = PredictionWriter(output, dataset.categories, f"../{folder_name(folder)}.json")
        others = [] if arguments.json is None else [arguments.json]
        image_ids = getattr(dataset, "image_ids", ())[:num_images]
        writer.prepare(image_ids, others, is_main=is_main)
        distributed.wait_for_all()
    return scores, writer


EVALUATE = Command(
    "evaluate",
    "score a model on a data set: PQ, SQ, RQ, mean IoU, box and mask AP",
    "pfpn evaluate runs/toy --data toy --split val --json scores.json",
    _add_evaluate,
    _evaluate,
)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    add_weights(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="photographs of any size, folders of them, or patterns such as 'photos/*.jpg'",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--coco",
        action="store_true",
        help=f"also write DIR/{ALL}: all images in one COCO panoptic file",
    )
    add_device(parser)


def _predict(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from tqdm import tqdm

    from pfpn.data.predictions import PredictionWriter
    from pfpn.engine.distributed import choose_device
    from pfpn.files import claim, printable, require_distinct

    trained = _load(arguments, choose_device(arguments.device))
    out = Path(arguments.out)
    paths = _find_images(arguments.images, out)
    broken: list[str] = []
    with claim(out, "predict") as output, image_bar(len(paths)) as on_image:
        inputs = [*paths, arguments.weights]
        names = [name for path in paths for name in _names(path)]
        names += [ALL] * arguments.coco
        require_distinct(names, "results of images")
        output.require_free(names, inputs)
        everything = PredictionWriter(output, trained.categories, ALL)
        images: list[dict[str, Any]] = []
        if arguments.coco:
            output.remove(ALL)
        for number, path in enumerate(paths, start=1):
            try:
                entry, annotation, text = _predict_one(path, number, trained, output)
                images.append(entry)
                everything.annotations.append(annotation)
            except BrokenImageError as error:
                broken.append(str(error))
                text = "not predicted, see below"
            tqdm.write(printable(f"{path}: {text}"))
            on_image()
        if arguments.coco:
            everything.finish(everything.annotations, images)
    say(f"{len(paths) - len(broken)} images: {out}")
    if broken:
        complain(f"pfpn predict: {len(broken)} of {len(paths)} images could not be predicted:")
        for line in broken:
            complain(f"  {line}")
    return 1 if broken else 0


class BrokenImageError(ValueError):
    """One of several pictures cannot be read or predicted."""


def _names(path: "Path") -> tuple[str, str, str]:
    """Return the names of the files that are written for an image; the JSON comes last."""
    return f"{path.stem}.png", f"{path.stem}_overlay.png", f"{path.stem}.json"


def _find_images(words: Sequence[str], out: "Path") -> "list[Path]":
    """Return the images that arguments name: files, folders, patterns; each once, in order.

    Results of earlier predictions in `out` are no images. Raises ValueError where an argument names
    nothing, and where two images would share a result's name.
    """
    import glob
    import os
    from pathlib import Path

    from pfpn.files import Output, require_distinct

    results = {os.path.realpath(out / name) for name in Output(out, "predict").names()}
    images: dict[str, Path] = {}
    missing = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            entries = (p for p in path.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
            paths = sorted(p for p in entries if p.is_file() and not p.name.startswith("."))
            paths = [p for p in paths if os.path.realpath(p) not in results]
        elif not path.exists() and glob.has_magic(word):
            paths = sorted(p for p in map(Path, glob.glob(word, recursive=True)) if p.is_file())
            paths = [p for p in paths if os.path.realpath(p) not in results]
        else:
            paths = [path]
        if not any(p.exists() for p in paths):
            missing.append(word)
        for p in paths:
            images.setdefault(os.path.realpath(p), p)
    stems = [path.stem for path in images.values()]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise ValueError(
            f"images: found several named {twice[0]!r}, expected names that differ: results are "
            "named after them. Try one folder after the other, each with its own --out"
        )
    require_distinct((name for p in images.values() for name in _names(p)), "results of images")
    if missing:
        words = ", ".join(missing)
        deeper = next(
            (f" Try '{w}/**/*' for folders in it" for w in missing if os.path.isdir(w)), ""
        )
        raise ValueError(
            f"{words}: found no image, expected files, folders of them or patterns.{deeper}"
        )
    return list(images.values())


def _predict_one(
    path: "Path", number: int, trained: "Trained", output: "Output"
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Write what is predicted for one image; return its JSON entries and a line in words."""
    from pfpn.data.images import encode_image, read_image
    from pfpn.data.predictions import PredictionWriter
    from pfpn.plot.panoptic import describe_panoptic
    from pfpn.predict import predict

    try:
        image = read_image(path)
        prediction = predict(trained.model, [image], trained.predict, all_detections=False)[0]
    except ValueError as error:
        text = str(error)
        raise BrokenImageError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    _, overlay, index = _names(path)
    height, width = image.shape[1:]
    writer = PredictionWriter(output, trained.categories, index)
    output.remove(index)
    writer.add(prediction.panoptic, number, path.stem)
    painted = paint_strips(image, prediction.panoptic, trained.categories)
    output.write(overlay, encode_image(painted))
    entry = {"id": number, "file_name": path.name, "height": height, "width": width}
    writer.finish(writer.annotations, [entry], indent=1)
    words = describe_panoptic(prediction.panoptic, trained.categories)
    return entry, writer.annotations[0], words


def paint_strips(
    image: "UInt8[Tensor, '3 h w']", panoptic: "Panoptic", categories: "Sequence[Category]"
) -> "UInt8[Tensor, '3 h w']":
    """Return what `paint_panoptic` paints, strip by strip: colors are mixed in 4 bytes each."""
    import torch

    from pfpn.plot.panoptic import paint_panoptic
    from pfpn.structures import Panoptic

    painted = torch.empty_like(image)
    for top in range(0, image.shape[1], STRIP):
        above = max(0, top - 1)  # a row with its neighbors above, for the outlines
        rows = slice(above, top + STRIP)
        strip = Panoptic(panoptic.id_map[rows], panoptic.segments)
        pixels = torch.from_numpy(paint_panoptic(image[:, rows], strip, categories))
        painted[:, top : top + STRIP] = pixels[top - above :].permute(2, 0, 1)
    return painted


PREDICT = Command(
    "predict",
    "find every segment of photographs: per image an id PNG, a JSON file and an overlay to look at",
    "pfpn predict runs/toy street.jpg --out predictions",
    _add_predict,
    _predict,
)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a .pkl, .pth or .safetensors of detectron2's Panoptic FPN or torchvision's Mask "
        "R-CNN, or a name that `pfpn download zoo` knows",
    )
    parser.add_argument("--out", required=True, metavar="FILE.safetensors", help="file to write")
    parser.add_argument(
        "--norm-eps",
        type=float,
        metavar="E",
        help="of torchvision's frozen batch norms (default: 0 for its published file, else 1e-5)",
    )


def _convert(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn import zoo
    from pfpn.files import claim_file

    source, out = Path(arguments.source), Path(arguments.out)
    with claim_file(out, "convert", [source]) as output:
        if arguments.source in zoo.MODELS and not source.exists():
            with byte_bar() as progress:
                source = zoo.fetch_weights(arguments.source, progress=progress)
        with output.file(out.name) as temporary:
            config = zoo.convert(source, temporary, norm_eps=arguments.norm_eps)
    stuff = f", {config.num_semantic} semantic classes" if config.semantic_branch else ""
    say(f"ResNet-{config.depth}, {config.num_things} things{stuff}: {arguments.out}")
    return 0


CONVERT = Command(
    "convert",
    "turn published weights into a .safetensors file; nothing in them is executed",
    "pfpn convert model_final_c10459.pkl --out coco_panoptic_fpn_r50_3x.safetensors",
    _add_convert,
    _convert,
)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "weights",
        help='a .safetensors file, the folder of a run, or "toy": the weights that come with pfpn',
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE.onnx", help="file to write, for images of any size"
    )
    parser.add_argument(
        "--stages",
        action="store_true",
        help="write FILE_features.onnx, FILE_semantic.onnx and so on: one for each part that has "
        "weights, without what stands between them",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="how weights are stored (default: float32); arithmetic is in float32 either way",
    )


def _export(arguments: argparse.Namespace) -> int:
    from contextlib import ExitStack
    from pathlib import Path

    from pfpn.export import network_pieces, require_packages
    from pfpn.files import claim

    require_packages()
    out = Path(arguments.out)
    if out.suffix != ".onnx" or out.is_dir():
        raise ValueError(f"--out {out}: found no name that ends in .onnx, expected such a file")
    trained = load_model(arguments.weights, "cpu")
    names = {"network": out.name}
    if arguments.stages:
        stages = [piece.name for piece in network_pieces(trained.model) if piece.has_weights]
        names = {stage: f"{out.stem}_{stage}.onnx" for stage in stages}
    with claim(out.parent, "export", "" if arguments.stages else out.name) as output:
        output.require_free(names.values(), [arguments.weights])
        contents = _export_contents(trained, arguments)
        with ExitStack() as stack:  # all files are whole before the first one gets its name
            for key, name in names.items():
                stack.enter_context(output.file(name)).write_bytes(contents[key])
    for key, name in names.items():
        say(f"{out.parent / name}: {len(contents[key]) / 1e6:.1f} MB")
    return 0


def _export_contents(trained: "Trained", arguments: argparse.Namespace) -> dict[str, bytes]:
    """Return the content of each file, by the name of its graph."""
    import json
    from dataclasses import asdict

    from pfpn.engine.checkpoint import categories_to_plain
    from pfpn.export import export_graphs

    about = {
        "pfpn.predict": json.dumps(asdict(trained.predict)),
        "pfpn.categories": json.dumps(categories_to_plain(trained.categories)),
    }
    graphs = export_graphs(
        trained.model,
        stages=arguments.stages,
        half=arguments.dtype == "float16",
        about=about,
    )
    return {name: graph.SerializeToString() for name, graph in graphs.items()}


EXPORT = Command(
    "export",
    "write the network as ONNX, for other runtimes: one graph, or one for each stage",
    "pfpn export runs/toy --out toy.onnx --dtype float16",
    _add_export,
    _export,
)
