"""README and docs keep their word: commands parse, snippets run, pictures and figures are there."""

import argparse
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from pfpn.cli import build_parser, main
from pfpn.course import all_exercises
from pfpn.engine.config import override
from pfpn.engine.optim import describe_factor
from pfpn.engine.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[str]:
    text = "\n".join(blocks("console")).replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith(program)]


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def pfpn_commands(path: Path) -> list[str]:
    """The lines of a document's shell blocks that run pfpn, by itself or under torchrun."""
    found = re.findall(
        r"^```(?:console|bash)\n(.*?)^```",
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    text = re.sub(r"\s*\\\n\s*", " ", "\n".join(found))
    return [line.strip() for line in text.splitlines() if re.search(r"(^|-m )pfpn ", line)]


def test_every_pfpn_command_in_the_documents_parses():
    """Also its settings, and what stands before it for torchrun."""
    parser, num_train = build_parser(), 0
    for path in documents():
        for line in pfpn_commands(path):
            words = shlex.split(line.split("  #")[0])
            if words[0] != "pfpn":
                words = words[words.index("torchrun") + 1 :]
                launch = get_args_parser().parse_args(words)
                assert (launch.training_script, launch.module) == ("pfpn", True), line
                words = ["pfpn", *launch.training_script_args]
            arguments, rest = parser.parse_known_args(words[1:])
            assert not [word for word in rest if word.startswith("-")], line
            if arguments.command == "train":
                config = override(PRESETS[arguments.preset](), [*arguments.settings, *rest])
                num_train += 1
                images = config.batch_size / config.optim.accumulate
                if line != " ".join(words):  # under torchrun
                    nodes = {"1:1": 1, "$SLURM_JOB_NUM_NODES": 2}[launch.nnodes]
                    images /= nodes * int(launch.nproc_per_node)
                assert images == int(images) >= 1, line
            else:
                assert not rest, line
    assert num_train >= 8


def test_every_command_that_prose_names_exists_with_its_options():
    """`pfpn name --option` in a sentence or table of a document may leave out what it needs."""
    (choices,) = (
        action.choices
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    others = [ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md"]
    num = 0
    for path in [*documents(), *others]:
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for line in re.findall(r"`(?:python -m )?pfpn ([^`]+)`", text):
            name, *words = line.split()
            if name.startswith("-"):
                assert name in ("--version", "--help"), line
                continue
            known = {option for a in choices[name]._actions for option in a.option_strings}
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            assert options <= known, f"{path.name}: pfpn {line}"
            num += 1
    assert num > 30


def test_the_commands_to_begin_with_parse():
    """They train for minutes, or wait for a browser, so they are not run with the others."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert lines == ["pfpn test-install", "pfpn demo", "pfpn lab"]
    for line in lines:
        build_parser().parse_args(shlex.split(line)[1:])


def test_the_extras_that_the_readme_names_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"(?:pfpn|\.)\[(\w+)\]", README))
    assert {"notebooks"} <= named <= project["optional-dependencies"].keys()


def test_the_training_guide_tells_what_the_presets_tell():
    rows = re.findall(
        r"^\| `(\w+)` \| .*? \| (.*?) \| ([\d.]+ GiB for \d) .*? \| ([\d.]+) \|$",
        (ROOT / "docs" / "training.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert {row[0] for row in rows} == {n for n in PRESETS if n.startswith(("coco", "city"))}
    for name, scores, memory, hours in rows:
        told = " ".join(PRESETS[name].__doc__.split())
        for score in re.findall(r"\d\d\.\d", scores):
            assert score in told
        assert f"estimated {memory.replace('for', 'per GPU of')}" in told
        assert f"estimated {hours} hours" in told


def test_the_slurm_script_shows_as_many_images_as_the_preset():
    (line,) = (c for c in pfpn_commands(ROOT / "docs" / "training.md") if c.startswith("srun"))
    preset, settings = PRESETS["coco_r50_3x"](), re.findall(r"[\w.]+=[\d,]+", line)
    told = describe_factor(override(preset, [s for s in settings if s.startswith("batch_size")]))
    assert all(s in told for s in settings)
    assert "0.04 instead of 0.02" in told


def test_every_make_target_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for line in commands("make") for word in shlex.split(line)[1:]}
    named |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"demo", "test"} <= named <= targets


SMALL = [  # what turns any preset into two steps of seconds
    *("max_steps=2", "batch_size=2", "threads=1", "device=cpu", "data.workers=0"),
    *("data.shortest_edges=64", "data.crop=0,0", "predict.shortest_edge=64"),
    *("model.imagenet=false", "model.depth=18", "model.width=0.125", "model.norm=batch"),
    *("model.pyramid_channels=16", "model.semantic_channels=16", "model.mask_channels=16"),
    *("model.box_hidden=32", "model.box_samples=16", "model.train_proposals=20"),
]
SMALL_NUMBERS = {"--num 1000": "--num 3", "--val 100": "--val 2", "max_steps=3000": ""}


@pytest.mark.slow
def test_every_pfpn_command_in_the_readme_runs(tmp_path, monkeypatch):
    """Run them in order, in a folder with tiny data sets under the names that README uses."""
    monkeypatch.chdir(tmp_path)
    write_streets("data/coco", "train2017", "val2017")
    write_streets("data/cityscapes", "train", "val")
    write_streets("data/mine", "train", "val")
    lines = [line for line in commands("") if " pfpn " in f" {line} "]
    assert len(lines) >= 10
    for line in lines:
        for many, few in SMALL_NUMBERS.items():
            line = line.replace(many, few)
        words = shlex.split(line)
        words = words[words.index("pfpn") + 1 :]  # torchrun's own part is tested with the engine
        if words[0] == "train":
            words[2:2] = SMALL
        assert main(words) == 0, line


def write_streets(root: str, train: str, val: str) -> None:
    """Write three scenes per split, under the splits' names."""
    assert main(["toy", root, "--num", "3", "--val", "3", "--size", "64x96"]) == 0
    for name, wanted in (("train", train), ("val", val)):
        for path in (
            f"{name}",
            f"annotations/panoptic_{name}",
            f"annotations/panoptic_{name}.json",
        ):
            place = Path(root) / path
            place.rename(place.with_name(place.name.replace(name, wanted)))


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_every_snippet_in_the_readme_runs(number, monkeypatch):
    monkeypatch.chdir(ROOT)  # snippets name shipped files relative to the repository
    code = compile(blocks("python")[number], f"README.md, snippet {number + 1}", "exec")
    exec(code, {"__name__": "readme"})


def test_every_picture_in_the_readme_is_there_and_described():
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", README, flags=re.DOTALL)
    assert pictures
    for words, place in pictures:
        assert len(words) > 40, f"{place} needs a description"
        assert (ROOT / place).is_file(), place


def test_the_readme_counts_the_exercises():
    assert f"{len(all_exercises())} exercises" in README
