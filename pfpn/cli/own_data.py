"""Commands for data of one's own: import, split, browse, export-data, combine."""

import argparse

from pfpn.cli.command import (
    MOST,
    Command,
    complain,
    count_bar,
    folder_name,
    image_bar,
    require_elsewhere,
    require_within,
    say,
)

IMPORT_FORMATS = (
    "coco", "labelme", "cvat", "label-studio", "voc", "cityscapes", "two-channel", "semantic",
    "masks",
)  # fmt: skip
EXPORT_FORMATS = ("coco", "semantic", "two-channel")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "format", choices=IMPORT_FORMATS, metavar="FORMAT", help=", ".join(IMPORT_FORMATS)
    )
    parser.add_argument("source", metavar="SOURCE", help="file or folder that the tool exported")
    parser.add_argument("--out", required=True, metavar="ROOT", help="folder of the data set")
    parser.add_argument("--split", default="train", metavar="NAME", help="default: train")
    parser.add_argument("--images", metavar="DIR", help="photographs, if not beside the source")
    parser.add_argument(
        "--stuff", metavar="PATH", help="coco: stuff as a second JSON file or a folder of PNGs"
    )
    parser.add_argument(
        "--categories", metavar="JSON", help="names of classes, for formats that store numbers"
    )
    parser.add_argument(
        "--classes",
        metavar="TOML",
        help="which class becomes what (default: ROOT/classes.toml, written as a proposal)",
    )
    parser.add_argument(
        "--order",
        choices=("file", "area"),
        default="file",
        help="what lies on top where annotations overlap: later ones, or smaller ones",
    )


def _import(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.data.formats.importing import (
        CLASSES,
        class_table,
        import_pictures,
        open_source,
        remarks,
    )
    from pfpn.data.formats.source import Options
    from pfpn.data.split import division_of
    from pfpn.files import claim

    def path(name: str | None) -> Path | None:
        return None if name is None else Path(name)

    options = Options(
        images=path(arguments.images),
        stuff=path(arguments.stuff),
        categories=path(arguments.categories),
        split=arguments.split,
    )
    root = Path(arguments.out)
    reader = open_source(arguments.format, Path(arguments.source), options)
    with claim(root, "import") as output:
        is_new = arguments.classes is None and not (root / CLASSES).exists()
        entries = class_table(reader, root, path(arguments.classes), output)
        divided = division_of(root, arguments.split)
        with count_bar() as progress:
            report = import_pictures(
                reader, output, arguments.split, entries, order=arguments.order,
                replaces=divided, progress=progress,
            )  # fmt: skip
    for line in report.lines():
        say(line)
    kinds = {kind: [e.name for e in entries if e.kind == kind] for kind in ("thing", "stuff")}
    say(f"things: {', '.join(kinds['thing']) or 'none'}")
    say(f"stuff: {', '.join(kinds['stuff']) or 'none'}")
    if is_new:
        say(f"classes were guessed: look at {root / CLASSES}, edit it, and import again")
    for line in remarks(arguments.format, reader):
        say(line)
    if divided:
        say(f"removed the division of the earlier import: `pfpn split {root}` divides this one")
    if report.skipped:
        left = len(report.skipped)
        complain(f"pfpn import: {left} picture{'s' * (left != 1)} left out")
    return 1 if report.skipped else 0


IMPORT = Command(
    "import",
    "turn annotations of another tool into a data set in COCO panoptic format",
    "pfpn import labelme photos/ --out data/mine",
    _add_import,
    _import,
)


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT", help="folder in COCO panoptic format")
    parser.add_argument(
        "--val", type=float, default=0.2, metavar="PART", help="to validation (default: 0.2)"
    )
    parser.add_argument(
        "--from", dest="source", default="train", metavar="NAME", help="split to divide"
    )
    parser.add_argument(
        "--names", default="train,val", metavar="A,B", help="of the two parts (default: train,val)"
    )
    parser.add_argument(
        "--group",
        metavar="REGEX",
        help=r"images with the same match in their names stay together, such as '^(clip\d+)_'",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def _split(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.data.split import divide_dataset

    require_within(arguments, 0, MOST, "seed")
    names = arguments.names.split(",")
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"--names: found {arguments.names!r}, expected two names, such as fit,val")
    division = divide_dataset(
        Path(arguments.root), arguments.source, (names[0], names[1]),
        val=arguments.val, seed=arguments.seed, group=arguments.group,
    )  # fmt: skip
    width = max((len(name) for name, _, _ in division.table), default=5)
    say(f"{'class':{width}}  {names[0]:>8}  {names[1]:>8}")
    for name, train, val in division.table:
        part = f"{val / (train + val):.0%}" if train + val else "-"
        say(f"{name:{width}}  {train:8}  {val:8}  {part:>4}")
    num_val = sum(division.is_val)
    say(f"{len(division.is_val) - num_val} images in {names[0]}, {num_val} in {names[1]}")
    return 0


SPLIT = Command(
    "split",
    "divide a data set into training and validation, balanced by class",
    "pfpn split data/mine --val 0.2",
    _add_split,
    _split,
)


def _add_browse(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT", help="folder in COCO panoptic format")
    parser.add_argument("--split", default="train", metavar="NAME", help="default: train")
    parser.add_argument(
        "--pred", metavar="JSON", help="predictions, as `pfpn evaluate --save` writes them"
    )
    parser.add_argument(
        "--out", metavar="FILE.html", help="file to write (default: SPLIT.html in this folder)"
    )
    parser.add_argument("--images", type=int, default=0, metavar="N", help="the first N only")


def _browse(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.browse import Predictions, browse_page
    from pfpn.data.coco import CocoPanoptic
    from pfpn.files import claim_file

    require_within(arguments, 0, MOST, "images")
    dataset = CocoPanoptic(arguments.root, arguments.split)
    out = Path(arguments.out or f"{arguments.split}.html")
    number = min(len(dataset), arguments.images or len(dataset))
    if not number:
        raise ValueError(f"{arguments.root}: found 0 images in {arguments.split}, expected some")
    predictions = Predictions(Path(arguments.pred), dataset.categories) if arguments.pred else None
    if predictions and not predictions.ids & set(dataset.image_ids[:number]):
        raise ValueError(
            f"{arguments.pred}: found predictions of other images, expected some of those in "
            f"{arguments.split} of {arguments.root}. Is --split the right one?"
        )
    title = f"{Path(arguments.root).resolve().name}, {arguments.split}"
    with (
        claim_file(out, "browse") as output,
        output.file(out.name) as temporary,
        temporary.open("wb") as file,
        image_bar(number) as on_image,
    ):
        for piece in browse_page(dataset, title, predictions, max_images=arguments.images):
            file.write(piece)
            on_image()
    say(f"{number} images: {out}")
    return 0


BROWSE = Command(
    "browse",
    "write one self-contained page that shows a data set, or truth beside predictions",
    "pfpn browse data/mine --split val --pred predictions/val.json --out val.html",
    _add_browse,
    _browse,
)


def _add_export_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "format", choices=EXPORT_FORMATS, metavar="FORMAT", help=", ".join(EXPORT_FORMATS)
    )
    parser.add_argument("root", metavar="ROOT", help="folder in COCO panoptic format")
    parser.add_argument("--split", default="val", metavar="NAME", help="default: val")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the result")
    parser.add_argument(
        "--things-only", action="store_true", help="coco: leave stuff out, as instances files do"
    )
    parser.add_argument(
        "--things-other", action="store_true", help="semantic: every thing becomes 183, as in COCO"
    )


def _export_data(arguments: argparse.Namespace) -> int:
    import io
    import json
    from pathlib import Path

    from PIL import Image

    from pfpn.data.categories import categories_to_json
    from pfpn.data.coco import CocoPanoptic
    from pfpn.data.formats.exporting import to_coco_instances, to_semantic, to_two_channels
    from pfpn.data.predictions import plain_stem
    from pfpn.files import claim, require_distinct

    for option, kind in (("things_only", "coco"), ("things_other", "semantic")):
        if getattr(arguments, option) and arguments.format != kind:
            name = option.replace("_", "-")
            raise ValueError(f"--{name}: found with {arguments.format}, expected with {kind} only")
    dataset = CocoPanoptic(arguments.root, arguments.split)
    categories = dataset.categories
    names = [plain_stem(image_id) for image_id in dataset.image_ids]
    maps = ((image_id, dataset.panoptic(i)) for i, image_id in enumerate(dataset.image_ids))
    require_distinct(names, "images")
    index = f"{arguments.split}.json"
    require_elsewhere("--out", Path(arguments.out) / arguments.split, dataset.paths)
    with claim(Path(arguments.out), "export-data") as output:
        output.require_free([f"{arguments.split}/{name}.png" for name in names] + [index])
        output.remove(index)
        images = [
            {"id": i, "file_name": f"{name}.png", "height": h, "width": w}
            for i, name, (h, w) in zip(dataset.image_ids, names, dataset.sizes(), strict=True)
        ]
        content: dict[str, object] = {
            "images": images,
            "categories": categories_to_json(categories),
        }
        with image_bar(len(dataset)) as on_image:
            if arguments.format == "coco":
                rows: list[dict[str, object]] = []
                for entry in maps:
                    rows += to_coco_instances(
                        [entry], categories, things_only=arguments.things_only
                    )
                    on_image()
                for number, row in enumerate(rows):
                    row["id"] = number
                content["annotations"] = rows
            else:
                for name, (_, panoptic) in zip(names, maps, strict=True):
                    pixels = (
                        to_semantic(panoptic, categories, things_other=arguments.things_other)
                        if arguments.format == "semantic"
                        else to_two_channels(panoptic, categories)
                    )
                    buffer = io.BytesIO()
                    Image.fromarray(pixels).save(buffer, format="PNG")
                    output.write(f"{arguments.split}/{name}.png", buffer.getvalue())
                    on_image()
        output.write(index, json.dumps(content).encode())
    say(f"{len(dataset)} images: {arguments.out}")
    return 0


EXPORT_DATA = Command(
    "export-data",
    "write a data set as COCO instances, as PNGs of classes, or as PNGs of two channels",
    "pfpn export-data coco data/mine --split val --out exported",
    _add_export_data,
    _export_data,
)


def _add_combine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", required=True, metavar="JSON", help="lists images and categories, as the truth"
    )
    parser.add_argument(
        "--categories", metavar="JSON", help="categories, if the first file has none"
    )
    parser.add_argument(
        "--instances", required=True, metavar="JSON", help="results with scores and masks"
    )
    parser.add_argument("--stuff", required=True, metavar="JSON", help="results with masks")
    parser.add_argument("--out", required=True, metavar="DIR", help="writes DIR.json and DIR/*.png")
    parser.add_argument("--min-score", type=float, default=0.5, metavar="X", help="default: 0.5")
    parser.add_argument("--max-overlap", type=float, default=0.5, metavar="X", help="default: 0.5")
    parser.add_argument(
        "--min-stuff-area", type=int, default=4096, metavar="X", help="pixels (default: 4096)"
    )


def _combine(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from pfpn.data.categories import LabelMap, read_categories, read_json
    from pfpn.data.coco import images_by_id
    from pfpn.data.formats.exporting import combine, read_results
    from pfpn.data.predictions import PredictionWriter
    from pfpn.files import claim
    from pfpn.predict import PredictConfig

    listing = read_json(Path(arguments.images))
    entries = listing.get("images") if isinstance(listing, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"{arguments.images}: found no list of images, expected a COCO file")
    images = images_by_id(entries, Path(arguments.images))
    categories = read_categories(Path(arguments.categories or arguments.images))
    labels = LabelMap(tuple(categories))
    instances = read_results(Path(arguments.instances), images, labels, with_scores=True)
    stuff = read_results(Path(arguments.stuff), images, labels, with_scores=False)
    thresholds = {
        name: getattr(arguments, name) for name in ("min_score", "max_overlap", "min_stuff_area")
    }
    PredictConfig(**thresholds)  # raises where one is out of bounds
    folder = Path(arguments.out)
    with claim(folder, "combine") as output:
        index = f"../{folder_name(folder)}.json"
        output.require_free([index], [arguments.images, arguments.instances, arguments.stuff])
        writer = PredictionWriter(output, categories, index)
        writer.prepare(images)
        with image_bar(len(images)) as on_image:
            for image_id, image in images.items():
                panoptic = combine(
                    (image["height"], image["width"]),
                    instances.get(image_id, []),
                    stuff.get(image_id, []),
                    labels,
                    **thresholds,
                )
                writer.add(panoptic, image_id)
                on_image()
        writer.finish(writer.annotations, entries)
    say(f"{len(images)} images: {folder}")
    return 0


COMBINE = Command(
    "combine",
    "merge COCO results of instances and of stuff into panoptic predictions",
    "pfpn combine --images val.json --instances things.json --stuff stuff.json --out merged",
    _add_combine,
    _combine,
)
