"""The last capstone beside the package: chapter 10 shows what is stored; a run has its fields."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def capstone():
    spec = importlib.util.spec_from_file_location("capstone", ROOT / "benchmarks/capstone.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["capstone"] = module
    spec.loader.exec_module(module)
    return module


def test_the_chapter_shows_the_stored_results(capstone):
    content = json.loads(capstone.RESULTS.read_text(encoding="utf-8"))
    assert content["protocol"]["steps"] == 400
    done = {(one["network"], one["seed"]) for one in content["runs"]}
    assert done == set(itertools.product(capstone.NETWORKS, range(3)))
    cells = json.loads((ROOT / "notebooks/10_panoptic_quality.ipynb").read_text("utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    assert capstone.table(content["runs"]) in text


def test_both_networks_of_a_seed_begin_alike(capstone):
    runs = json.loads(capstone.RESULTS.read_text(encoding="utf-8"))["runs"]
    for seed in range(3):
        first, second = (one["first_loss"] for one in runs if one["seed"] == seed)
        assert first == pytest.approx(second, rel=1e-4)


def test_a_run_has_the_fields_of_the_table(capstone):
    one = capstone.run("package", seed=0, steps=1)
    assert one["first_loss"] == one["last_loss"] > 0
    assert "| 0 |" in capstone.table([one, {**one, "network": "solutions"}])
