"""The bookkeeping of `benchmarks/lovasz_training.py`, on a budget that learns nothing."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

FILE = Path(__file__).resolve().parents[1] / "benchmarks" / "lovasz_training.py"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("lovasz_training", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.TOY_SIZE = (32, 64)
    module.ARMS = {name: module.ARMS[name] for name in ("ce", "ce, sum stride 4", "sum")}
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def finished(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, Any]:
    """A folder in which one repeat is done, with what it was made of."""
    out = tmp_path_factory.mktemp("runs")
    data = bench.toy_world(6, 2)[""]
    budget = bench.Budget(10, batch=2, turns=1)
    repeat = bench.Repeat("toy", "", 0)
    log = bench.Log(out, "toy", {"budget": 10})
    costs = dict.fromkeys(bench.LOSSES, 1.0) | {"sum": 1.25}  # as if measured
    log.add({"kind": "costs", "world": "toy", "costs": costs})
    bench.run_repeat(repeat, data, budget, log)
    return out, data, budget, repeat


def test_every_arm_is_run_at_equal_steps_and_at_equal_time_where_these_differ(
    finished: tuple[Path, Any, Any, Any], bench: Any
) -> None:
    runs = [row for row in bench.read_rows(finished[0] / "toy.jsonl") if row["kind"] == "run"]
    assert [(r["arm"], r["compare"], r["steps"]) for r in runs] == [
        ("ce", "steps", [7, 3]),
        ("ce, sum stride 4", "steps", [7, 3]),
        ("sum", "time", [6, 2]),
        ("sum", "steps", [7, 3]),
    ]
    assert set(runs[0]["scores"]["new streets"]) == {"miou", "image_miou", "pq_stuff", "iou"}
    assert not list(finished[0].glob("*.pt"))


def test_a_second_call_trains_nothing(
    finished: tuple[Path, Any, Any, Any], bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, data, budget, repeat = finished
    before = (out / "toy.jsonl").read_bytes()
    monkeypatch.setattr(bench.Run, "train", lambda *_, **__: pytest.fail("trained again"))
    bench.run_repeat(repeat, data, budget, bench.Log(out, "toy", {"budget": 10}))
    assert (out / "toy.jsonl").read_bytes() == before


def test_a_run_whose_row_was_cut_short_comes_again_with_the_same_scores(
    finished: tuple[Path, Any, Any, Any], bench: Any, tmp_path: Path
) -> None:
    out, data, budget, repeat = finished
    lines = (out / "toy.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "toy.jsonl").write_text("".join(lines[:-1]) + lines[-1][:40])
    bench.run_repeat(repeat, data, budget, bench.Log(tmp_path, "toy", {"budget": 10}))
    again = bench.read_rows(tmp_path / "toy.jsonl")
    assert len(again) == len(lines)
    assert again[-1]["scores"] == json.loads(lines[-1])["scores"]


def test_a_run_from_a_stored_beginning_is_the_run_in_one_go(
    finished: tuple[Path, Any, Any, Any], bench: Any, tmp_path: Path
) -> None:
    data = finished[1]
    whole, first, second = (bench.Run(data, 3, 2) for _ in range(3))
    whole.train(bench.CROSS_ENTROPY, 4)
    first.train(bench.CROSS_ENTROPY, 2)
    bench.save_checkpoint(tmp_path / "begun.pt", first.state())
    second.load(bench.load_checkpoint(tmp_path / "begun.pt"))
    second.train(bench.CROSS_ENTROPY, 4)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_measuring_costs_leaves_the_run_as_it_was(
    finished: tuple[Path, Any, Any, Any], bench: Any
) -> None:
    run = bench.Run(finished[1], 0, 2)
    run.train(bench.CROSS_ENTROPY, 1)
    before = run.state()
    costs = bench.measure_costs(run, 1)
    assert costs["ce"] == 1
    assert min(costs.values()) >= 1
    assert costs.keys() == bench.LOSSES.keys()
    assert run.step == 1
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(tensor, before["model"][name]), name


def test_equal_time_means_fewer_steps_where_a_loss_costs_more(bench: Any) -> None:
    budget = bench.Budget(100)
    assert budget.split(1.0, whole=False) == (70, 30)
    assert budget.split(1.25, whole=False) == (70, 24)  # the beginning is cross-entropy
    assert budget.split(1.25, whole=True) == (56, 24)


def test_other_settings_do_not_go_on_with_old_runs(
    finished: tuple[Path, Any, Any, Any], bench: Any
) -> None:
    with pytest.raises(ValueError, match=r"expected .*'budget': 20.*another --out"):
        bench.Log(finished[0], "toy", {"budget": 20})


def row(arm: str, compare: str, held_out: str, seed: int, miou: float) -> dict[str, Any]:
    scores = {
        "miou": miou,
        "image_miou": miou + 1,
        "pq_stuff": 1.0,
        "iou": {"car": miou, "b": None},
    }
    part = {"world": "toy", "held_out": held_out, "seed": seed}
    return {"kind": "run", **part, "arm": arm, "compare": compare, "scores": {"x": scores}}


def test_gains_are_differences_within_a_repeat(bench: Any) -> None:
    # Two held-out parts, two seeds: the control differs by 10 between parts, by 2 between seeds.
    control = {("p", 0): 50.0, ("p", 1): 52.0, ("q", 0): 60.0, ("q", 1): 62.0}
    gains = {("p", 0): 3.0, ("p", 1): 4.0, ("q", 0): 5.0, ("q", 1): 4.0}
    rows = [row("ce", "steps", *part, value) for part, value in control.items()]
    rows += [row("sum", "steps", *part, control[part] + gains[part]) for part in control]
    table = {(line["arm"], line["compare"]): line for line in bench.summarize(rows)}
    line = table["sum", "steps"]
    assert line["num"] == 4
    assert line["gains"] == [3, 4, 5, 4]
    assert line["gain"] == 4
    assert line["spread"] == pytest.approx((2 / 3) ** 0.5)  # deviations -1 0 1 0, three free
    assert line["noise"] == pytest.approx(2**0.5)  # deviations of 1 within parts, two free
    assert line["miou"] == 60
    assert line["image_miou"] == 61
    assert line["iou"] == {"car": 60, "b": None}
    assert line["verdict"] == "gain"
    assert table["sum", "time"] == {**line, "compare": "time"}  # it costs no more, so no second run
    assert table["ce", "steps"]["gain"] == 0
    assert table["ce", "steps"]["verdict"] == "none"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [((3, 4), "gain"), ((-3, -4), "loss"), ((-1, 9), "none"), ((0.5, 0.6), "none")],
)
def test_a_gain_is_more_than_seeds_alone_make(
    bench: Any, differences: tuple[float, float], verdict: str
) -> None:
    rows = [row("ce", "steps", "", seed, 50.0 + 2 * seed) for seed in (0, 1)]  # noise 1.41
    rows += [
        row("sum", "steps", "", seed, 50.0 + 2 * seed + d) for seed, d in enumerate(differences)
    ]
    found = {line["arm"]: line for line in bench.summarize(rows)}
    assert found["sum"]["verdict"] == verdict


def test_arms_without_a_partner_are_left_out(bench: Any) -> None:
    rows = [row("ce", "steps", "", 0, 50.0), row("sum", "steps", "", 1, 55.0)]
    assert [line["arm"] for line in bench.summarize(rows)] == ["ce", "ce"]


def test_report_writes_results_that_read_back_and_a_picture(
    finished: tuple[Path, Any, Any, Any], bench: Any, tmp_path: Path, capsys: Any
) -> None:
    bench.report(finished[0], tmp_path / "r.json", tmp_path / "p.png")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["costs"]["toy"]["sum"] == 1.25
    assert {line["arm"] for line in content["table"]} == set(bench.ARMS)
    assert (tmp_path / "p.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "### toy, new streets" in printed
    # one line for the control, one a comparison for each other arm
    assert sum(line.endswith("| none |") or line.endswith("| - |") for line in
               printed.splitlines() if "| steps |" in line or "| time |" in line) == 5  # fmt: skip
