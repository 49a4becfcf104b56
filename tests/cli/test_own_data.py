"""`pfpn import`, `split`, `browse`, `export-data` and `combine`, from end to end."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.cli import main
from pfpn.cli.listing import meanings
from pfpn.cli.own_data import IMPORT_FORMATS
from pfpn.data.check import check
from pfpn.data.coco import CocoPanoptic
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
from pfpn.engine.config import TrainConfig
from tests.data.formats import foreign

CONVERTERS = Path(__file__).resolve().parents[1] / "data_files" / "converters"


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelme")
    foreign.labelme(root, list(ToyStreet(num=10, seed=5)), TOY_CATEGORIES)
    return root


@pytest.fixture
def root(exported, tmp_path):
    assert run("import", "labelme", exported, "--out", tmp_path / "mine") == 0
    return tmp_path / "mine"


SMALL = ["batch_size=2", "max_steps=2", "eval_images=2", "eval_every=0", "device=cpu", "threads=1",
         "data.shortest_edges=64", "data.crop=64,64", "predict.shortest_edge=64",
         "model.imagenet=false", "model.norm=batch", "model.width=0.125",
         "model.pyramid_channels=16", "model.semantic_channels=16", "model.box_hidden=16",
         "model.mask_channels=16", "model.mask_convs=1"]  # fmt: skip


def write_export(kind: str, folder: Path) -> list[str]:
    """Write ten drawn streets as a tool would export them; return the options of the import."""
    samples = list(ToyStreet(num=10, seed=5))
    if kind == "labelme":
        foreign.labelme(folder, samples, TOY_CATEGORIES)
    elif kind == "masks":
        foreign.masks(folder, samples, TOY_CATEGORIES)
    elif kind in ("coco", "label-studio"):
        foreign.coco(folder, samples, list(TOY_CATEGORIES))
    else:
        foreign.class_images(folder, samples, TOY_CATEGORIES, kind)
    if kind == "cityscapes":  # its own numbers for two things and two kinds of stuff
        numbers = {c.id: i for c, i in zip(TOY_CATEGORIES, range(len(TOY_CATEGORIES)), strict=True)}
        official = [24, 26, 7, 23] + [0] * len(numbers)
        table = {number: official[i] for number, i in numbers.items()} | {0: 0}
        for path in folder.rglob("*_instanceIds.png"):
            values = np.array(Image.open(path)).astype(np.int64)
            classes = np.where(values >= 1000, values // 1000, values)
            new = np.vectorize(table.get)(classes)
            counted = (values >= 1000) & np.isin(new, [24, 26])
            values = np.where(counted, 1000 * new + values % 1000, new)
            path.write_bytes(foreign.png(values.astype(np.uint16)))
        for place in ("leftImg8bit", "gtFine"):
            (folder / place / "val").rename(folder / place / "train")
    if kind in ("voc", "cvat"):
        (folder / "JPEGImages").rename(folder / "images")
    if kind in ("voc", "two-channel", "semantic"):
        names = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in TOY_CATEGORIES]
        (folder / "names.json").write_text(json.dumps(names))
        return ["--categories", str(folder / "names.json")]
    return []


@pytest.mark.slow
@pytest.mark.parametrize("kind", IMPORT_FORMATS)
def test_from_each_format_to_a_trained_model_in_four_commands(kind, tmp_path, capsys):
    source, root, model = (tmp_path / name for name in ("in", "mine", "run"))
    options = write_export(kind, source)
    assert run("import", kind, source, "--out", root, *options) == 0
    assert "classes were guessed" in capsys.readouterr().out
    assert run("split", root, "--val", 0.3) == 0
    assert run("train", "photos", f"data={root}", *SMALL, "--out", model) == 0
    assert run("predict", model, root / "train", "--out", tmp_path / "out") == 0
    page = (Path(__file__).parents[2] / "docs" / "photographs.md").read_text(encoding="utf-8")
    assert f"`pfpn import {kind} " in page


def test_the_parts_of_a_division_are_data_sets(root, capsys):
    assert run("split", root, "--val", 0.3, "--seed", 1) == 0
    table = capsys.readouterr().out
    assert "7 images in train, 3 in val" in table
    parts = {name: CocoPanoptic(root, name) for name in ("train", "val", "all")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 7, "val": 3, "all": 10}
    ids = {name: set(part.image_ids) for name, part in parts.items()}
    assert not ids["train"] & ids["val"]
    assert ids["train"] | ids["val"] == ids["all"]
    for name, part in parts.items():
        assert part[0].image.shape == (3, 128, 192)
        assert not [f for f in check(root, name) if "not listed" not in str(f)]
    assert run("split", root, "--val", 0.5) == 0  # anew, from the whole
    assert len(CocoPanoptic(root, "val")) == 5


def test_a_list_that_pfpn_did_not_write_is_not_divided_in_place(root, capsys):
    path = root / "annotations" / "panoptic_train.json"
    path.write_text(path.read_text() + "\n")
    before = path.read_bytes()
    assert run("split", root) == 2
    assert "--names" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert run("split", root, "--names", "fit,holdout") == 0
    assert path.read_bytes() == before
    assert len(CocoPanoptic(root, "fit")) + len(CocoPanoptic(root, "holdout")) == 10


def test_a_list_of_another_part_is_not_replaced_by_a_division(exported, root, capsys):
    """Here the photographs of val were imported by themselves; dividing train would lose them."""
    assert run("import", "labelme", exported, "--out", root, "--split", "val") == 0
    before = (root / "annotations/panoptic_val.json").read_bytes()
    assert run("split", root) == 2
    assert "panoptic_val.json: found a list that no division wrote" in capsys.readouterr().err
    assert (root / "annotations/panoptic_val.json").read_bytes() == before
    assert len(CocoPanoptic(root, "train")) == 10
    assert run("split", root, "--names", "all,val") == 2
    assert "the name of the undivided list" in capsys.readouterr().err
    assert run("split", root, "--names", "fit,holdout") == 0


@pytest.mark.parametrize("names", ["train,val", "fit,holdout"])
def test_importing_again_after_the_table_was_edited_undoes_the_division(
    names, exported, root, capsys
):
    assert run("split", root, "--names", names) == 0
    table = root / "classes.toml"
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace('name = "car"', 'name = "automobile"'), encoding="utf-8")
    assert run("import", "labelme", exported, "--out", root) == 0
    assert "`pfpn split" in capsys.readouterr().out
    assert {p.name for p in (root / "annotations").glob("*.json")} == {"panoptic_train.json"}
    assert len(CocoPanoptic(root, "train")) == 10
    assert run("split", root, "--names", names) == 0
    part = CocoPanoptic(root, names.partition(",")[0])
    assert "automobile" in {category.name for category in part.categories}


def test_a_division_of_a_damaged_import_stays(exported, root, capsys):
    assert run("split", root) == 0
    (root / "train" / "foreign.png").write_bytes(b"mine")
    mine = next(p for p in (root / "train").iterdir() if p.name != "foreign.png")
    mine.write_bytes(b"my own photograph")
    assert run("import", "labelme", exported, "--out", root) == 2
    assert mine.read_bytes() == b"my own photograph"
    for name, number in (("train", 8), ("val", 2), ("all", 10)):
        assert len(CocoPanoptic(root, name)) == number


def test_the_page_of_a_data_set_is_written(root, tmp_path):
    page = tmp_path / "page.html"
    assert run("browse", root, "--out", page, "--images", 3) == 0
    assert len(re.findall(r'^{"name":', page.read_text(encoding="utf-8"), re.M)) == 3
    page.write_text("mine")
    assert run("browse", root, "--out", page) == 2
    assert page.read_text() == "mine"


def test_a_page_needs_images_and_predictions_of_them(root, tmp_path, capsys):
    assert run("split", root) == 0
    lists = {name: root / f"annotations/panoptic_{name}.json" for name in ("train", "val")}
    page = tmp_path / "page.html"
    arguments = ["browse", root, "--split", "val", "--out", page]
    assert run(*arguments, "--pred", lists["train"]) == 2
    assert "found predictions of other images" in capsys.readouterr().err
    content = json.loads(lists["val"].read_text())
    lists["val"].write_text(json.dumps(content | {"annotations": [], "images": []}))
    assert run(*arguments) == 2
    assert "found 0 images in val" in capsys.readouterr().err
    assert not page.exists()


@pytest.mark.parametrize("kind", ["coco", "semantic", "two-channel"])
def test_what_was_exported_is_imported_again(kind, root, tmp_path):
    out = tmp_path / "exported"
    assert run("export-data", kind, root, "--split", "train", "--out", out) == 0
    source = out / "train.json" if kind == "coco" else out / "train"
    back = tmp_path / "back"
    images = tmp_path / "photographs"
    images.mkdir()
    dataset = CocoPanoptic(root, "train")
    # Exported files are named by image ids, so the photographs are too.
    content = json.loads((root / "annotations/panoptic_train.json").read_text())
    for entry in content["images"]:
        copy = images / f"{entry['id']:012d}.png"
        copy.write_bytes((root / "train" / entry["file_name"]).read_bytes())
    options = ["--images", images, "--categories", root / "annotations/panoptic_train.json"]
    assert run("import", kind, source, *options, "--out", back) == 0
    again = CocoPanoptic(back, "train")
    for index in range(len(dataset)):
        one, two = dataset.panoptic(index), again.panoptic(index)
        if kind != "semantic":  # which cannot tell things apart that touch
            pairs = torch.stack([one.id_map.flatten(), two.id_map.flatten()]).unique(dim=1)
            assert pairs.shape[1] == len(one.id_map.unique()) == len(two.id_map.unique())
        assert torch.equal(one.id_map == 0, two.id_map == 0)


def test_combined_results_are_written_as_predictions(tmp_path):
    out = tmp_path / "merged"
    (tmp_path / "listing.json").write_text(json.dumps(
        json.loads((CONVERTERS / "images.json").read_text())
        | {"categories": json.loads((CONVERTERS / "categories.json").read_text())}
    ))  # fmt: skip
    arguments = ["--instances", CONVERTERS / "combine_instances.json", "--stuff",
                 CONVERTERS / "combine_semantic.json", "--min-stuff-area", 64]  # fmt: skip
    assert run("combine", "--images", tmp_path / "listing.json", *arguments, "--out", out) == 0
    truth = CONVERTERS / "set" / "annotations" / "panoptic_val.json"
    assert run("score", "--gt", truth, "--pred", tmp_path / "merged.json") == 0
    theirs = json.loads((CONVERTERS / "combined_a.json").read_text())["annotations"]
    ours = json.loads((tmp_path / "merged.json").read_text())["annotations"]
    for one, two in zip(ours, theirs, strict=True):
        assert sorted(s["category_id"] for s in one["segments_info"]) == sorted(
            s["category_id"] for s in two["segments_info"]
        )


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "labelme", "nowhere", "--out", "x"],
        ["import", "coco", "nowhere", "--out", "x"],
        ["import", "voc", ".", "--out", "x"],
        ["import", "semantic", ".", "--out", "x"],
        ["import", "masks", ".", "--out", "x"],
        ["import", "cityscapes", ".", "--out", "x"],
        ["import", "coco", ".", "--out", "x", "--split", "../up"],
        ["split", "nowhere"],
        ["split", ".", "--names", "one"],
        ["split", ".", "--seed", "-1"],
        ["browse", "nowhere"],
        ["export-data", "coco", "nowhere", "--out", "x"],
        ["export-data", "coco", ".", "--out", "x", "--things-other"],
        ["export-data", "semantic", ".", "--out", "x", "--things-only"],
        ["import", "coco", "nowhere", "--out", "x", "--classes", "none"],
        ["combine", "--images", "none", "--instances", "a", "--stuff", "b", "--out", "x"],
        ["settings", "nothing"],
        ["settings", "toy", "--find", "zzz"],
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pfpn {arguments[0]}: ")
    assert "found " in line
    assert "expected " in line or "Did you mean" in line
    assert "Errno" not in line


def test_settings_and_presets_are_listed(capsys):
    assert run("settings", "toy", "--find", "optim.lr") == 0
    assert "optim.lr=0.002" in capsys.readouterr().out
    assert run("presets") == 0
    assert "coco_r50_1x" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run("--version")
    assert ended.value.code == 0


def test_every_setting_has_a_meaning():
    words = meanings(TrainConfig)
    assert [name for name, text in words.items() if len(text) < 3] == []
    assert words["init"].startswith("Weights to begin with")  # stands above it
    assert words["optim.schedule"].endswith("(one of constant, step, linear, cosine)")
    assert "sgd, adamw, muon" in words["optim.optimizer"]


@pytest.mark.slow
def test_the_installation_can_be_tried(capsys):
    assert run("test-install") == 0
    assert "all works" in capsys.readouterr().out


# malformed input: one line, exit code 2, nothing written


def set_at(*path_and_value):
    """Return a function that sets one value of nested JSON; `...` removes it."""
    *path, last, value = path_and_value

    def change(content):
        for key in path:
            content = content[key]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return change


MALFORMED = {
    "an image that is a number": set_at("images", [1]),
    "no images": set_at("images", ...),
    "an image without id": set_at("images", 0, "id", ...),
    "an image id that is a list": set_at("images", 0, "id", [1]),
    "an annotation without image id": set_at("annotations", 0, "image_id", ...),
    "an annotation with a list as image id": set_at("annotations", 0, "image_id", [1]),
    "an annotation without file": set_at("annotations", 0, "file_name", ...),
    "an annotation with a number as file": set_at("annotations", 0, "file_name", 7),
    "no segments": set_at("annotations", 0, "segments_info", ...),
    "a segment that is a number": set_at("annotations", 0, "segments_info", [1]),
    "a segment id that is text": set_at("annotations", 0, "segments_info", 0, "id", "1"),
    "an unknown category": set_at("annotations", 0, "segments_info", 0, "category_id", 9999),
    "a category that is a list": set_at("annotations", 0, "segments_info", 0, "category_id", []),
    "a category id that is text": set_at("categories", 0, "id", "1"),
}
COMBINED = {  # of the list of images
    "a height that is text": set_at("images", 0, "height", "32"),
    "a negative height": set_at("images", 0, "height", -1),
    "a height of 31 digits": set_at("images", 0, "height", 10**30),
    "no width": set_at("images", 0, "width", ...),
}


CASES = [
    *((command, name) for command in ("split", "browse", "export-data") for name in MALFORMED),
    *(("browse --pred", name) for name in list(MALFORMED)[4:13]),  # annotations alone are read
    *(("combine", name) for name in [*list(MALFORMED)[:4], *COMBINED]),  # images alone are read
]


@pytest.mark.parametrize(("command", "name"), CASES)
def test_malformed_lists_are_refused_in_one_line(command, name, small_world, capsys):
    path = small_world / "data" / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    (MALFORMED | COMBINED)[name](content)
    target = small_world / "pred.json" if command == "browse --pred" else path
    target.write_text(json.dumps(content))
    before = {p: p.read_bytes() for p in small_world.rglob("*") if p.is_file()}
    words = {
        "split": ["split", "data", "--from", "val", "--names", "a,b", "--val", "0.5"],
        "browse": ["browse", "data", "--split", "val", "--out", "page.html"],
        "browse --pred": ["browse", "data", "--split", "val", "--pred", "pred.json"],
        "export-data": ["export-data", "coco", "data", "--out", "out"],
        "combine": ["combine", "--images", path, "--instances", "none.json", "--stuff",
                    "none.json", "--out", "out"],
    }[command]  # fmt: skip
    assert run(*words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert {p: p.read_bytes() for p in small_world.rglob("*") if p.is_file()} == before


@pytest.fixture
def small_world(world):
    shutil.copytree(world / "data" / "annotations" / "panoptic_val", world / "pred")
    (world / "none.json").write_text("[]")
    return world


CODE = {"size": [32, 48], "counts": [0, 100, 1436]}
RESULTS = {
    "image_id": [[1], {}, None, 0.5, True, "x", 77, ...],
    "category_id": [[1], {}, None, 1.5, True, "1", 10**30, ...],
    "score": [[1], {}, None, "x", -1, 2, float("nan"), float("inf"), ...],
    "segmentation": [
        [1], [[0, 0, 5, 0, 5, 5]], {}, None, "x", {"counts": "x"}, {"counts": None},
        {"counts": ["a"]}, {"counts": [[1], [2]]}, {"counts": [-5, 1541]},
        {"counts": [0.5, 1535.5]}, CODE | {"size": [48, 32]}, CODE | {"size": None},
        CODE | {"counts": [1]}, ...,
    ],
}  # fmt: skip
CHANGES = [(key, value) for key, values in RESULTS.items() for value in values]


@pytest.mark.parametrize("kind", ["things", "stuff"])
@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_malformed_results_are_not_combined(key, value, kind, small_world, capsys):
    category = next(c for c in TOY_CATEGORIES if c.is_thing == (kind == "things"))
    result = {"image_id": 0, "category_id": category.id, "score": 0.9, "segmentation": CODE}
    words = ["combine", "--images", "data/annotations/panoptic_val.json", "--out", "out",
             "--instances", "none.json", "--stuff", "none.json"]  # fmt: skip
    words += ["--instances" if kind == "things" else "--stuff", "results.json"]
    (small_world / "results.json").write_text(json.dumps([result]))
    assert run(*words, "--min-stuff-area", 1) == 0
    shutil.rmtree("out")
    set_at(key, value)(result)
    (small_world / "results.json").write_text(json.dumps([result]))
    (small_world / "out.json").unlink()
    capsys.readouterr()
    assert run(*words) == (0 if key == "score" and kind == "stuff" else 2)
    assert len(capsys.readouterr().err.splitlines()) <= 1


@pytest.mark.parametrize(
    "option", [("--min-score", "nan"), ("--max-overlap", 2), ("--min-stuff-area", -1)]
)
def test_thresholds_of_combining_have_bounds(option, small_world, capsys):
    words = ["--images", "data/annotations/panoptic_val.json", "--out", "out"]
    words += ["--instances", "none.json", "--stuff", "none.json", *option]
    assert run("combine", *words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_combination_does_not_replace_its_inputs(small_world, capsys):
    words = ["--instances", "none.json", "--stuff", "none.json", "--out", "out"]
    assert run("combine", "--images", "data/annotations/panoptic_val.json", *words) == 0
    before = (small_world / "out.json").read_bytes()
    assert run("combine", "--images", "out.json", *words) == 2
    assert "found an input" in capsys.readouterr().err
    assert (small_world / "out.json").read_bytes() == before


@pytest.mark.parametrize("out", ["data", "./data/../data"])
def test_nothing_is_exported_among_a_data_sets_photographs(out, small_world, capsys):
    assert run("export-data", "semantic", "data", "--out", out) == 2
    assert "the data set's own" in capsys.readouterr().err
