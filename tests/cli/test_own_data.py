"""`pfpn import`, `split`, `browse`, `export-data` and `combine`, from end to end."""

import json
import re
from pathlib import Path

import pytest
import torch

from pfpn.cli import main
from pfpn.data.check import check
from pfpn.data.coco import CocoPanoptic
from pfpn.data.toy import TOY_CATEGORIES, ToyStreet
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


def test_from_an_export_to_a_trained_model_in_four_commands(exported, tmp_path, capsys):
    root, model = tmp_path / "mine", tmp_path / "run"
    small = ["batch_size=2", "max_steps=2", "eval_images=2", "model.width=0.125",
             "model.pyramid_channels=16", "model.semantic_channels=16", "model.box_hidden=16",
             "model.mask_channels=16", "model.mask_convs=1"]  # fmt: skip
    assert run("import", "labelme", exported, "--out", root) == 0
    assert "classes were guessed" in capsys.readouterr().out
    assert run("split", root, "--val", 0.3) == 0
    assert run("train", "camvid", f"data={root}", *small, "--out", model) == 0
    assert run("predict", model, root / "train", "--out", tmp_path / "out") == 0


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


def test_the_page_of_a_data_set_is_written(root, tmp_path):
    page = tmp_path / "page.html"
    assert run("browse", root, "--out", page, "--images", 3) == 0
    assert len(re.findall(r'^{"name":', page.read_text(encoding="utf-8"), re.M)) == 3
    page.write_text("mine")
    assert run("browse", root, "--out", page) == 2
    assert page.read_text() == "mine"


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
        ["browse", "nowhere"],
        ["export-data", "coco", "nowhere", "--out", "x"],
        ["combine", "--images", "none", "--instances", "a", "--stuff", "b", "--out", "x"],
        ["settings", "nothing"],
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_settings_and_presets_are_listed(capsys):
    assert run("settings", "toy", "--find", "optim.lr") == 0
    assert "optim.lr=0.002" in capsys.readouterr().out
    assert run("presets") == 0
    assert "coco_r50_1x" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run("--version")
    assert ended.value.code == 0


@pytest.mark.slow
def test_the_installation_can_be_tried(capsys):
    assert run("test-install") == 0
    assert "all works" in capsys.readouterr().out
