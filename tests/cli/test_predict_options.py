"""`pfpn predict`: folders, patterns, broken photographs, and files of others."""

import json

import numpy as np
import pytest
from PIL import Image

from pfpn.cli import main
from pfpn.data.coco import CocoPanoptic, read_id_map


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, color in (("a.png", (90, 120, 200)), ("b.jpg", (10, 80, 20))):
        Image.new("RGB", (48, 32), color).save(folder / name)
    return folder


def predict(*arguments):
    return main(["predict", "toy", *map(str, arguments)])


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".pfpn" not in p.parts}


def test_folders_patterns_and_files_name_photographs(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(photos, "--out", out) == 0
    assert predict(str(photos / "*.jpg"), photos / "a.png", "--out", out) == 0
    assert predict(photos, photos / "a.png", "--out", out) == 0  # named twice, predicted once
    assert capsys.readouterr().out.splitlines()[-1] == f"2 images: {out}"
    assert {p.name for p in out.iterdir() if p.is_file()} == {
        f"{stem}{end}" for stem in "ab" for end in (".png", ".json", "_overlay.png")
    }


def test_a_broken_photograph_is_left_out_and_the_others_are_predicted(photos, tmp_path, capsys):
    (photos / "a0.jpg").write_bytes(b"\xff\xd8\xffbroken")
    assert predict(photos, "--out", tmp_path / "out") == 1
    errors = capsys.readouterr().err
    assert "1 of 3 images" in errors.splitlines()[0]
    assert "a0.jpg" in errors.splitlines()[1]
    assert (tmp_path / "out" / "b.json").is_file()
    assert not (tmp_path / "out" / "a0.json").exists()


def test_a_photograph_is_never_replaced(photos, capsys):
    before = snapshot(photos)
    assert predict(photos / "a.png", "--out", photos) == 2
    assert "found an input" in capsys.readouterr().err
    assert snapshot(photos) == before


def test_a_mask_of_the_same_name_is_never_replaced(photos, capsys):
    (photos / "b.png").write_bytes(b"drawn by hand")
    before = snapshot(photos)
    assert predict(photos / "b.jpg", "--out", photos) == 2
    assert "another origin" in capsys.readouterr().err
    assert snapshot(photos) == before


def test_own_predictions_in_the_folder_are_not_taken_for_photographs(photos, capsys):
    (photos / "a.png").unlink()
    assert predict(photos, "--out", photos) == 0
    assert predict(photos, "--out", photos) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 images: {photos}"


def test_two_outputs_never_share_a_name(photos, tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(photos / "a_overlay.png")
    assert predict(photos, "--out", tmp_path / "out") == 2
    assert "a_overlay.png" in capsys.readouterr().err
    assert snapshot(tmp_path / "out") == {}


def test_thresholds_are_options(photos, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)).save(
        photos / "a.png"
    )
    assert predict(photos / "a.png", "--out", tmp_path / "few", "--min-stuff-area", 10**6,
                   "--min-score", 1) == 0  # fmt: skip
    assert not read_id_map(tmp_path / "few" / "a.png").any()
    assert predict(photos / "a.png", "--out", tmp_path / "x", "--min-score", 2) == 2


def test_all_photographs_in_one_coco_file_are_a_data_set(photos, tmp_path):
    out = tmp_path / "out"
    assert predict(photos, "--out", out, "--coco") == 0
    content = json.loads((out / "panoptic.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.jpg"]
    root = tmp_path / "root"
    (root / "annotations").mkdir(parents=True)
    (out / "panoptic.json").rename(root / "annotations" / "panoptic_new.json")
    (root / "annotations" / "panoptic_new").mkdir()
    for name in ("a.png", "b.png"):
        (out / name).rename(root / "annotations" / "panoptic_new" / name)
    photos.rename(root / "new")
    assert [sample.image.shape for sample in CocoPanoptic(root, "new")] == [(3, 32, 48)] * 2


def test_folders_without_photographs_are_named(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "empty", tmp_path / "*.jpg", tmp_path / "none.jpg"):
        assert predict(name, "--out", tmp_path / "out") == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
