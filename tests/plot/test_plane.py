"""Any loss of any network on a plane: values by hand, the network unharmed, the page's snippets."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pfpn.plot.plane import Plane, describe_plane, evaluate_plane, plot_plane

PAGE = (Path(__file__).parents[2] / "docs" / "landscapes.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_a_quadratic_loss_has_the_values_of_its_formula():
    """With one weight a filter's direction is the weight itself, up to its sign."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 3.0)
    plane = evaluate_plane(layer, {"square": lambda net: net.weight.square().sum()}, steps=5)
    signs = list(itertools.product((1, -1), repeat=2))
    expected = [
        [[(3 + 3 * (a * x + b * y)) ** 2 for x in plane.axis] for y in plane.axis] for a, b in signs
    ]
    assert any(np.allclose(plane.values["square"], grid, rtol=1e-5) for grid in expected)
    assert plane.num_weights == 1
    assert plane.axis.tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize("statistics", ["kept", "batch"])
def test_the_network_is_the_same_afterwards(statistics):
    model, inputs = network().train(), torch.randn(8, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []

    def loss(net):
        seen.append(net[1].training)
        return net(inputs).square().mean()

    evaluate_plane(model, {"mean": loss}, steps=3, statistics=statistics)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training
    assert all(module.training for module in model)
    assert set(seen) == {statistics == "batch"}


def test_only_the_named_parts_move():
    model, inputs = network(), torch.randn(8, 3)
    seen = []
    losses = {"mean": lambda net: seen.append(net[2].weight.clone()) or net(inputs).mean()}
    plane = evaluate_plane(model, losses, steps=3, parts=["0"])
    assert all(torch.equal(weight, model[2].weight) for weight in seen)
    assert np.ptp(plane.values["mean"]) > 0
    assert plane.num_weights == 3 * 4 + 4
    whole = evaluate_plane(model, losses, steps=1)
    assert whole.num_weights == sum(p.numel() for p in model.parameters())


def test_a_seed_gives_its_plane():
    model, inputs = network(), torch.randn(8, 3)
    grids = [
        evaluate_plane(model, {"m": lambda net: net(inputs).mean()}, steps=3, seed=s).values["m"]
        for s in (1, 1, 2)
    ]
    assert np.array_equal(grids[0], grids[1])
    assert not np.array_equal(grids[0], grids[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 4}, "steps 4, expected an odd number"),
        ({"statistics": "none"}, "statistics 'none'"),
        ({"losses": {}}, "found no losses"),
        ({"parts": ["head"]}, "expected some in head"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_drawn_is_refused(options, message):
    losses = options.pop("losses", {"zero": lambda net: 0.0})
    with pytest.raises(ValueError, match=message):
        evaluate_plane(network(), losses, **{"steps": 1} | options)


def test_the_picture_has_two_panels_for_each_loss_and_bears_what_is_not_finite():
    grid = np.linspace(-1, 2, 9).reshape(3, 3)
    broken = grid.copy()
    broken[0, 0], broken[2, 2] = np.nan, np.inf
    plane = Plane(np.array([-1.0, 0, 1]), {"a": grid, "b": broken, "flat": 0 * grid}, 7)
    figure = plot_plane(plane, tops={"a": 1.0})
    figure.canvas.draw()
    titles = [axes.get_title() for axes in figure.axes]
    assert [title for title in titles if title] == ["a", "b", "flat"]
    assert len(figure.axes) == 9  # with the color bars
    words = describe_plane(plane)
    assert "7 weights" in words
    assert "a: 0.5 at the network itself, -1 to 2 at the edge" in words
    with pytest.raises(ValueError, match="found 4 losses"):
        plot_plane(Plane(plane.axis, {str(i): grid for i in range(4)}, 1))


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_of_the_page_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(SNIPPETS[number], f"docs/landscapes.md, snippet {number + 1}", "exec"), {})
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]
