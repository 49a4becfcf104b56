"""The losses of the pages are those of Python: values, gradients, and each step of Algorithm 1."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from pfpn.course.ch07_surfaces.numbers import jaccard_corners, read_point
from pfpn.course.ch07_surfaces.simplex import SIMPLEX_LOSSES, evaluate_simplex
from pfpn.losses.lovasz import lovasz_softmax
from pfpn.plot.surface import LOSSES, TRUTHS, loss_at, make_surface, value_and_gradient

ROOT = Path(__file__).resolve().parents[2]
Point = tuple[list[int], list[float]]  # truth and scores
SPECIAL = [[0.0, 0.0], [1.0, -1.0], [2.0, 2.0], [-2.0, 2.0], [3.0, -3.0], [0.0, 1.0], [60.0, -60.0]]


def some_points(num: int = 250) -> list[Point]:
    """Two to nine pixels with random truths and scores, a quarter of them with ties."""
    rng = torch.Generator().manual_seed(0)
    points = []
    for index in range(num):
        pixels = 2 + int(torch.randint(8, (), generator=rng))
        truth = torch.randint(2, (pixels,), generator=rng)
        scores = 4 * torch.randn(pixels, generator=rng, dtype=torch.float64)
        points.append((truth.tolist(), (scores.round() if index % 4 == 0 else scores).tolist()))
    return points


POINTS = some_points() + [(list(truth), scores) for truth in TRUTHS for scores in SPECIAL]


@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_are_those_of_python(javascript, loss):
    results = javascript("lib/losses.js", "evaluate", [[loss, *point] for point in POINTS])
    assert len(results) >= 200
    for read, (truth, scores) in zip(results, POINTS, strict=True):
        point = torch.tensor(scores, dtype=torch.float64)
        value, gradient = value_and_gradient(loss, point, truth)
        assert read["value"] == pytest.approx(float(value), rel=1e-12, abs=1e-12)
        assert read["gradient"] == pytest.approx(gradient.tolist(), rel=1e-9, abs=1e-12)
        assert read["discrete"] == float(loss_at("jaccard", point, truth))


@pytest.mark.parametrize("loss", ["lovasz_hinge", "lovasz_softmax"])
def test_each_step_of_the_algorithm_is_that_of_python(javascript, loss):
    results = javascript("lib/losses.js", "evaluate", [[loss, *point] for point in POINTS])
    for read, (truth, scores) in zip(results, POINTS, strict=True):
        point = torch.tensor(scores, dtype=torch.float64)
        expected = read_point([bool(label) for label in truth], point, loss)
        assert read["order"] == expected.order.tolist()
        steps = read["steps"]
        assert [step["error"] for step in steps] == pytest.approx(expected.errors.tolist())
        assert [step["intersection"] for step in steps] == expected.intersection.tolist()
        assert [step["union"] for step in steps] == expected.union.tolist()
        assert [step["rise"] for step in steps] == pytest.approx(expected.rise.tolist())
        num, inter, union = expected.count_wrong()
        assert sum(read["wrong"]) == num
        assert (read["intersection"], read["union"]) == (inter, union)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_grid_of_a_surface_is_that_of_python(javascript, loss):
    arguments = [[loss, list(truth), 3, 9] for truth in TRUTHS]
    for truth, grid in zip(
        TRUTHS, javascript("lib/surface.js", "makeSurface", arguments), strict=True
    ):
        expected = make_surface(loss, truth, steps=9)
        assert_close(torch.tensor(grid["axis"], dtype=torch.float64), torch.tensor(expected.axis))
        values = torch.tensor(grid["value"], dtype=torch.float64)
        assert_close(values, torch.tensor(expected.value), atol=1e-12, rtol=1e-12)


def test_the_default_loss_is_the_mean_over_the_classes_that_are_present(javascript):
    loss = "lovasz_softmax_present"
    results = javascript("lib/losses.js", "evaluate", [[loss, *point] for point in POINTS])
    for read, (truth, scores) in zip(results, POINTS, strict=True):
        point = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
        probs = torch.stack([torch.zeros_like(point), point]).softmax(0)[None, :, None]
        value = lovasz_softmax(probs, torch.tensor(truth)[None, None])
        assert read["value"] == pytest.approx(value.item(), abs=1e-12)
        if len(set(map(abs, scores))) == len(scores):  # no errors tie: one gradient
            (gradient,) = torch.autograd.grad(value, point)
            assert read["gradient"] == pytest.approx(gradient.tolist(), abs=1e-12)
        assert read["of"] == ("foreground" if any(truth) else "background")


def test_the_corners_are_the_jaccard_loss_that_the_surface_goes_through(javascript):
    for loss, over in (("lovasz_hinge", 6), ("lovasz_softmax", 40), ("lovasz_softmax_present", 40)):
        for truth in TRUTHS:
            ((*corners,),) = javascript("lib/losses.js", "cornersOf", [[loss, list(truth), over]])
            assert len(corners) == 4
            if loss != "lovasz_softmax_present":
                assert [each["value"] for each in corners] == jaccard_corners(truth)[1].tolist()
            arguments = [[loss, list(truth), each["scores"]] for each in corners]
            for each, read in zip(
                corners, javascript("lib/losses.js", "valueAndGradient", arguments), strict=True
            ):
                assert read["value"] == pytest.approx(each["value"], abs=1e-9)


@pytest.mark.parametrize("loss", SIMPLEX_LOSSES)
def test_the_losses_of_three_classes_are_those_of_python(javascript, loss):
    rng = torch.Generator().manual_seed(2)
    draws = -torch.rand(220, 2, 3, generator=rng, dtype=torch.float64).log()
    probs = draws / draws.sum(-1, keepdim=True)
    probs = torch.cat([probs, torch.eye(3, dtype=torch.float64)[:, None].expand(3, 2, 3)])
    values = javascript("lib/losses.js", "simplexLoss", [[loss, *pair] for pair in probs.tolist()])
    for (first, second), value in zip(probs, values, strict=True):
        expected = float(evaluate_simplex(loss, first, second))
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_titles_of_the_losses_of_three_classes_are_those_of_python(node):
    script = "import { SIMPLEX } from './web/lib/palette.js'; console.log(JSON.stringify(SIMPLEX))"
    result = subprocess.run(
        [node, "--input-type=module", "-e", script], capture_output=True, text=True, cwd=ROOT,
        timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    titles = {loss: each["title"] for loss, each in json.loads(result.stdout).items()}
    assert titles == SIMPLEX_LOSSES
