"""What commands write, and above all what they do not: nobody loses a file."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pfpn import export, zoo
from pfpn.cli import main
from pfpn.data.coco import read_id_map
from pfpn.files import FILES, KEPT, claim, sha256_of
from pfpn.model import ModelConfig

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "batch_size=2", "max_steps=2", "log_every=1", "save_every=1", "eval_images=1", "max_minutes=0",
    "data.toy_size=32,48", "data.toy_train_images=2", "data.toy_val_images=1", "data.cache=false",
    "model.width=0.125", "model.pyramid_channels=16", "model.semantic_channels=16", "threads=1",
    "model.box_hidden=16", "model.mask_channels=16", "model.mask_convs=1", "device=cpu",
]  # fmt: skip

EXPORTED = ("features", "semantic", "rpn", "boxes", "masks")


@dataclass(frozen=True)
class Writing:
    """A command that writes, in the small world of conftest.py."""

    by: str
    words: tuple[str, ...]
    outputs: tuple[str, ...]  # some of what it writes
    claims: tuple[str, str]  # folder, name


SAVE = ("evaluate", "w.safetensors", "--data", "data", "--no-ap", "--device", "cpu")
COMMANDS = {
    "predict": Writing(
        "predict",
        ("predict", "w.safetensors", "photos", "--out", "out", "--device", "cpu"),
        ("out/p0.png", "out/p0.json", "out/p0_overlay.png", "out/p2.json"),
        ("out", ""),
    ),
    "predict beside the photographs": Writing(
        "predict",
        ("predict", "w.safetensors", "jpegs", "--out", "jpegs", "--device", "cpu"),
        ("jpegs/q.png", "jpegs/q.json", "jpegs/q_overlay.png"),
        ("jpegs", ""),
    ),
    "evaluate --save": Writing(
        "evaluate",
        (*SAVE, "--save", "out"),
        ("out.json", "out/000000000000.png", "out/000000000001.png"),
        ("out", ""),
    ),
    "evaluate --json": Writing(
        "evaluate", (*SAVE, "--json", "scores.json"), ("scores.json",), (".", "scores.json")
    ),
    "score": Writing(
        "score",
        (
            "score", "--gt", "data/annotations/panoptic_val.json",
            "--pred", "data/annotations/panoptic_val.json", "--json", "scores.json",
        ),
        ("scores.json",),
        (".", "scores.json"),
    ),
    "toy": Writing(
        "toy",
        ("toy", "out", "--num", "1", "--size", "16x24", "--val", "1"),
        (
            "out/annotations/panoptic_train.json", "out/train/000000000000.png",
            "out/annotations/panoptic_train/000000000000.png",
            "out/annotations/panoptic_val.json", "out/val/000001000000.png",
        ),
        ("out", "train"),
    ),
    "convert": Writing(
        "convert", ("convert", "w.pkl", "--out", "m.safetensors"), ("m.safetensors",),
        (".", "m.safetensors"),
    ),
    "export": Writing(
        "export", ("export", "w.safetensors", "--out", "m.onnx"), ("m.onnx",), (".", "m.onnx"),
    ),
    "export --stages": Writing(
        "export", ("export", "w.safetensors", "--out", "out/m.onnx", "--stages"),
        tuple(f"out/m_{stage}.onnx" for stage in EXPORTED), ("out", ""),
    ),
    "import": Writing(
        "import", ("import", "masks", "masks", "--images", "photos", "--out", "out"),
        (
            "out/classes.toml", "out/annotations/panoptic_train.json", "out/train/p0.png",
            "out/annotations/panoptic_train/p0.png",
        ),
        ("out", ""),
    ),
    "split": Writing(
        "split", ("split", "data", "--from", "val", "--names", "fit,holdout"),
        ("data/annotations/panoptic_fit.json", "data/annotations/panoptic_holdout.json"),
        ("data", ""),
    ),
    "browse": Writing(
        "browse", ("browse", "data", "--split", "val", "--out", "page.html"), ("page.html",),
        (".", "page.html"),
    ),
    "export-data": Writing(
        "export-data", ("export-data", "semantic", "data", "--split", "val", "--out", "out"),
        ("out/val.json", "out/val/000000000000.png"),
        ("out", ""),
    ),
    "combine": Writing(
        "combine",
        (
            "combine", "--images", "data/annotations/panoptic_val.json",
            "--instances", "none.json", "--stuff", "none.json", "--out", "out",
        ),
        ("out.json", "out/000000000000.png"),
        ("out", ""),
    ),
}  # fmt: skip
SLOW = {
    "train": Writing(
        "train",
        ("train", "toy", *TINY, "--out", "out"),
        ("out/config.json", "out/last.pt", "out/model.safetensors"),
        ("out", ""),
    ),
    "demo": Writing(
        "demo",
        ("demo", *TINY, "--out", "out"),
        ("out/report.html", "out/curves.png", "out/comparison.png", "out/run/config.json"),
        ("out", ""),
    ),
}
EVERY = [*COMMANDS, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def command(name: str) -> Writing:
    return (COMMANDS | SLOW)[name]


@pytest.fixture(autouse=True)
def no_published_weights(monkeypatch):
    """convert writes a few bytes: reading published weights is another test's business."""

    def convert(source, out, **_):
        out.write_bytes(b"converted " + Path(source).read_bytes())
        return ModelConfig()

    monkeypatch.setattr(zoo, "convert", convert)


@pytest.fixture(autouse=True)
def no_tracing(monkeypatch):
    """export writes a few bytes: what a graph computes is another test's business."""

    class Graph(bytes):
        def SerializeToString(self) -> bytes:
            return self

    def export_graphs(model, *, stages, **_):
        return {name: Graph(b"graph") for name in (EXPORTED if stages else ["network"])}

    monkeypatch.setattr(export, "require_packages", lambda: None)
    monkeypatch.setattr(export, "export_graphs", export_graphs)


@pytest.fixture(autouse=True)
def more_files(template):
    (template / "w.pkl").write_bytes(b"weights")
    (template / "jpegs").mkdir(exist_ok=True)
    Image.new("RGB", (20, 12)).save(template / "jpegs" / "q.jpg")
    Image.new("RGB", (12, 9)).save(template / "jpegs" / "r.jpg")
    (template / "masks" / "p0").mkdir(parents=True, exist_ok=True)
    Image.new("L", (20, 12), 255).save(template / "masks" / "p0" / "cat_1.png")
    (template / "none.json").write_text("[]")


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file's content, and where links lead, but for pfpn's own lists."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = b"link to " + os.fsencode(os.readlink(path))
        elif path.is_file() and KEPT not in path.parts:
            found[name] = path.read_bytes()
    return found


def listed(root: Path, by: str) -> set[str]:
    """The files that the lists give to a command, as they are listed."""
    names = set()
    for path in root.rglob(f"{KEPT}/{FILES}"):
        for line in map(json.loads, path.read_text().splitlines()):
            if line.get("by") == by:
                file = Path(os.path.normpath(path.parents[1] / line["file"]))
                if file.is_file() and line["sha256"] in ("", sha256_of(file)):
                    names.add(file.relative_to(root).as_posix())
    return names


def assert_nothing_lost(before: dict[str, bytes], own: set[str], root: Path) -> None:
    after = snapshot(root)
    lost = [name for name in before if name not in own and after.get(name) != before[name]]
    assert lost == []
    assert [name for name in after if name.endswith(".tmp") and name not in before] == []


PICTURE = b"\x89PNG and more"
SPOTS = [
    *sorted({spot for w in (COMMANDS | SLOW).values() for spot in w.outputs}),
    "out", "out/annotations", "out/run", "out/run/last.pt", "out/.x.tmp", "out/notes.txt",
    "data/val/x.png", "data/annotations/panoptic_val/x.png", "photos/p0.json", "photos/p0.txt",
    "out/.pfpn-1-2.tmp", "out/p1.jpg", "jpegs/r.png", "out/train/photo.jpg", "out/run/.pfpn",
    "out.json.tmp",
]  # fmt: skip
TREES = st.dictionaries(
    st.sampled_from(SPOTS), st.sampled_from([b"", b"mine", b"{}", PICTURE, None]), max_size=8
)


def plant(root: Path, tree: dict[str, bytes | None]) -> None:
    """Write files; None is a link to a photograph. What is in a file's way is left out."""
    for name, content in tree.items():
        path = root / name
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.symlink_to(root / "photos" / "p1.png")
            else:
                path.write_bytes(content)


def check_tree(template: Path, writing: Writing, tree, later, twice: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "world"
        shutil.copytree(template, root)
        with contextlib.chdir(root):
            plant(root, tree)
            for _ in range(1 + twice):
                before, own = snapshot(root), listed(root, writing.by)
                code = main(list(writing.words))
                assert code in (0, 1, 2)
                assert_nothing_lost(before, own, root)
                plant(root, later)


@pytest.mark.parametrize("name", COMMANDS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES, later=TREES, twice=st.booleans())
def test_whatever_is_in_a_folder_no_command_loses_it(name, template, tree, later, twice):
    check_tree(template, command(name), tree, later, twice)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES, later=TREES)
def test_whatever_is_in_a_folder_no_training_loses_it(name, template, tree, later):
    check_tree(template, command(name), tree, later, twice=True)


# the three rules, one command after the other


@pytest.mark.parametrize("name", EVERY)
def test_a_command_replaces_only_what_it_wrote_itself(name, world, capsys):
    writing = command(name)
    assert main(list(writing.words)) == 0
    assert listed(world, writing.by) >= {o for o in writing.outputs if not o.startswith("out/run/")}
    # A run goes on with --resume, and a data set is not drawn over.
    assert main(list(writing.words)) == (2 if name in ("train", "toy") else 0)
    for output in writing.outputs:
        if not (world / output).exists():
            continue
        mine = (world / output).read_bytes()
        (world / output).write_bytes(b"changed by hand")
        capsys.readouterr()
        assert main(list(writing.words)) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        assert (world / output).read_bytes() == b"changed by hand"
        (world / output).write_bytes(mine)


@pytest.mark.parametrize("name", EVERY)
def test_a_command_claims_what_it_writes(name, world, capsys):
    writing = command(name)
    with claim(writing.claims[0], "somebody", writing.claims[1]):
        before = snapshot(world)
        assert main(list(writing.words)) == 2
        err = capsys.readouterr().err
        assert f"found it in use by `{Path(sys.argv[0]).name}" in err
        assert f"process {os.getpid()} on " in err
        assert len(err.splitlines()) == 1
        assert snapshot(world) == before
    assert main(list(writing.words)) == 0


BAD_IDS = ["../../holiday", "{root}/holiday", "a\0b", "a\x1b[2K", "con", "..", "sub/a"]


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("key", ["id", "file_name"])
@pytest.mark.parametrize("name", ["evaluate --save", "evaluate --json", "score"])
def test_names_from_data_are_plain_or_refused(name, key, bad, world, capsys):
    path = world / "data" / "annotations" / "panoptic_val.json"
    content, bad = json.loads(path.read_text()), bad.format(root=world)
    entry, annotation = content["images"][0], content["annotations"][0]
    if name == "score" or key == "file_name":
        annotation["file_name"] = f"{bad}.png"
    if key == "file_name":
        entry["file_name"] = f"{bad}.png"
    else:
        entry["id"] = annotation["image_id"] = bad
    path.write_text(json.dumps(content))
    before = snapshot(world.parent)
    # "sub/a.png" is a plain path, but nothing is there; "...png" would be a plain name
    assert main(list(command(name).words)) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err
    assert snapshot(world.parent) == before
    if name.startswith("evaluate") and bad != "con":
        assert main(["check", "data", "--split", "val"]) == 1


# the examples that were found


@pytest.mark.parametrize("out", ["photos", "./photos/../photos"])
def test_predicting_into_the_folder_of_the_photographs_keeps_them(out, world, capsys):
    before = snapshot(world)
    for words in (["photos/p0.png"], ["photos"], ["photos/*.png"]):
        assert main(["predict", "w.safetensors", *words, "--out", out]) == 2
        assert "found an input" in capsys.readouterr().err
        assert snapshot(world) == before


def test_a_mask_beside_a_photograph_is_kept(world, capsys):
    mask = (world / "photos" / "p1.png").read_bytes()
    (world / "jpegs" / "q.png").write_bytes(mask)
    assert main(["predict", "w.safetensors", "jpegs/q.jpg", "--out", "jpegs"]) == 2
    assert "a file of another origin" in capsys.readouterr().err
    assert (world / "jpegs" / "q.png").read_bytes() == mask


@pytest.mark.parametrize(
    "save", ["data/val", "data/annotations/panoptic_val", "data/val/sub", "link", "data/val/../val"]
)
def test_predictions_never_go_among_a_data_sets_own_files(save, world, capsys):
    (world / "link").symlink_to("data/val")
    before = snapshot(world)
    assert main([*SAVE, "--save", save]) == 2
    assert "the data set's own" in capsys.readouterr().err
    assert snapshot(world) == before


def test_scores_do_not_replace_what_they_are_computed_from(world, capsys):
    assert main([*SAVE, "--save", "out"]) == 0
    gt = ["--gt", "data/annotations/panoptic_val.json", "--pred", "out.json"]
    for json_file in ("out.json", "data/annotations/panoptic_val.json"):
        before = snapshot(world)
        assert main(["score", *gt, "--json", json_file]) == 2
        assert snapshot(world) == before


def test_two_outputs_of_one_command_never_share_a_name(world, capsys):
    for name in ("a.png", "a_overlay.jpg"):  # a_overlay.png would be both
        Image.new("RGB", (9, 9)).save(world / name)
    assert main(["predict", "w.safetensors", "a.png", "a_overlay.jpg", "--out", "out"]) == 2
    assert "'a_overlay.png' twice" in capsys.readouterr().err
    for json_file in ("out.json", "out/000000000000.png"):
        assert main([*SAVE, "--save", "out", "--json", json_file]) == 2
        assert "expected names that differ" in capsys.readouterr().err
    assert not (world / "out").exists()


def test_ids_that_make_one_name_are_refused_before_anything_is_computed(world, capsys):
    path = world / "data" / "annotations" / "panoptic_val.json"
    content = json.loads(path.read_text())
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "1000000"
    content["images"][1]["id"] = content["annotations"][1]["image_id"] = 1000000
    path.write_text(json.dumps(content))
    assert main([*SAVE, "--save", "out"]) == 2
    assert "000001000000.png' twice" in capsys.readouterr().err


@pytest.mark.slow
def test_a_demonstration_does_not_delete_a_run_that_was_trained(world, capsys):
    assert main(["train", "toy", *TINY, "--out", "out/run"]) == 0
    before = snapshot(world)
    assert main(list(SLOW["demo"].words)) == 2
    assert "out/run/" in capsys.readouterr().err
    assert snapshot(world) == before


@pytest.mark.slow
def test_a_demonstration_does_not_delete_its_run_once_somebody_went_on_with_it(world, capsys):
    assert main(list(SLOW["demo"].words)) == 0
    assert main(list(SLOW["demo"].words)) == 0
    recorded = "out/run/config.json"  # with the precision that the demonstration chose
    assert main(["train", recorded, "max_steps=3", "--out", "out/run", "--resume"]) == 0
    before = snapshot(world)
    assert main(list(SLOW["demo"].words)) == 2
    assert snapshot(world) == before


def test_a_name_of_two_photographs_in_one_folder_is_told(world, capsys):
    Image.new("RGB", (9, 9)).save(world / "photos" / "p0.jpg")
    assert main(["predict", "w.safetensors", "photos", "--out", "out"]) == 2
    assert "several named 'p0'" in capsys.readouterr().err


# half-written results are never taken for whole ones


KILL = """
import os, sys
from pfpn.files import Output
count, write = 0, Output.write
def dies(self, name, content):
    global count
    count += 1
    if count == int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    write(self, name, content)
Output.write = dies
from pfpn.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", ["evaluate --save", "toy"])
def test_a_second_run_that_is_killed_leaves_no_index_of_the_first(name, world):
    writing = command(name)
    words = ["toy", "out", "--num", "2", "--size", "16x24"] if name == "toy" else [*writing.words]
    assert main(words) == 0
    if name == "toy":  # which never replaces a data set: a killed one has no JSON
        shutil.rmtree(world / "out")
    killed = subprocess.run(
        [sys.executable, "-c", KILL, "2", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert killed.returncode == -9
    assert not (world / writing.outputs[0]).exists()
    assert main(words) == 0
    assert (world / writing.outputs[0]).exists()
    assert not list(world.rglob("*.tmp"))


# what predict does with many pictures


def test_predict_takes_folders_and_patterns_and_each_picture_once(world, capsys):
    words = ["photos", "photos/p*.png", "photos/p1.png", "jpegs/q.jpg", "--out", "out"]
    assert main(["predict", "w.safetensors", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "photos/p0.png", "photos/p1.png", "photos/p2.png", "jpegs/q.jpg", "4 images"
    ]  # fmt: skip
    (world / "jpegs" / "r.jpg").rename(world / "jpegs" / "s.jpg")
    before = {p.name for p in (world / "jpegs").iterdir()}
    for _ in range(2):  # its own results in the folder are no photographs
        assert main(["predict", "w.safetensors", "jpegs", "--out", "jpegs"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "2 images: jpegs"
    after = {p.name for p in (world / "jpegs").iterdir()}
    assert after - before == {
        KEPT, *(f"{stem}{end}" for stem in "qs" for end in (".png", ".json", "_overlay.png"))
    }  # fmt: skip


def test_predict_goes_on_after_a_broken_picture_and_lists_it_at_the_end(world, capsys):
    (world / "photos" / "p1.png").write_bytes(b"rubbish")
    Image.new("F", (3, 3)).save(world / "photos" / "p9.tif")
    assert main(["predict", "w.safetensors", "photos", "--out", "out"]) == 1
    out, err = capsys.readouterr()
    assert "2 images: out" in out
    first, *rest = err.splitlines()
    assert first == "pfpn predict: 2 of 4 images could not be predicted:"
    assert [line.partition(":")[0] for line in rest] == ["  photos/p1.png", "  photos/p9.tif"]
    assert {p.name for p in (world / "out").glob("*.json")} == {"p0.json", "p2.json"}
    assert read_id_map(world / "out" / "p2.png").shape == (31, 9)


@pytest.mark.parametrize("words", [["none.jpg"], ["photos", "none*.jpg"], ["empty"]])
def test_predict_says_which_argument_names_nothing(words, world, capsys):
    (world / "empty").mkdir()
    assert main(["predict", "w.safetensors", *words, "--out", "out"]) == 2
    assert words[-1] in capsys.readouterr().err
    assert not (world / "out").exists()


def test_a_large_overlay_is_painted_in_strips_that_do_not_show(world, monkeypatch):
    words = ["predict", "w.safetensors", "photos/p2.png", "--out", "out"]
    assert main(words) == 0
    with Image.open(world / "out" / "p2_overlay.png") as image:
        whole = np.array(image)
    for rows in (1, 7, 30):
        monkeypatch.setattr("pfpn.cli.using.STRIP", rows)
        assert main(words) == 0
        with Image.open(world / "out" / "p2_overlay.png") as image:
            assert np.array_equal(np.array(image), whole)
