"""Any loss of any network on a plane: values by hand, the network unharmed, the page's snippets."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pfpn.plot.landscape import random_direction
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
        ({"steps": 3.0}, "steps 3.0, expected an odd number"),
        ({"reach": 0.0}, "reach 0.0, expected a length above 0"),
        ({"reach": float("nan")}, "reach nan"),
        ({"losses": {}}, "found no losses"),
        ({"losses": lambda net: 0.0}, "found function, expected one or more losses by name"),
        ({"losses": [lambda net: 0.0]}, "found list, expected"),
        ({"losses": {"a": lambda net: net[0].bias}}, r"a tensor of shape \(4,\) as 'a'.*its mean"),
        ({"losses": {"a": lambda net: {"loss": 1.0}}}, "found dict as 'a', expected one number"),
        ({"losses": {"a": lambda net: None}}, "found NoneType as 'a'"),
        ({"losses": {"a": lambda net: torch.rand(())}}, "as 'a' of the same weights.*be noise"),
        ({"parts": ["head"]}, "expected some in head"),
        ({"parts": ["0", "head"]}, "expected some in 0, head"),
        ({"parts": "00"}, "expected some in 00"),
        ({"parts": []}, "expected some in any"),
        ({"parts": ["1"]}, "only biases, norm layers and filters of zeros in 1.weight, 1.bias"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_drawn_is_refused(options, message):
    losses = options.pop("losses", {"zero": lambda net: 0.0})
    with pytest.raises(ValueError, match=message):
        evaluate_plane(network(), losses, **{"steps": 1} | options)


def test_parts_may_be_deep_inside():
    inner = network()
    model = nn.Sequential(nn.Sequential(inner, nn.Identity()), nn.Linear(2, 2))
    losses = {"mean": lambda net: net(torch.ones(2, 3)).mean()}
    nums = {
        part: evaluate_plane(model, losses, steps=1, parts=[part]).num_weights
        for part in ("0.0.2", "0.0", "1.weight")
    }
    assert nums == {"0.0.2": 10, "0.0": sum(p.numel() for p in inner.parameters()), "1.weight": 4}
    one = evaluate_plane(model, losses, steps=1, parts="1")  # a name, not its letters
    assert one.num_weights == 6


def begins_with_zeros() -> nn.Linear:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)  # as in the last layer of many networks
    return layer


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(3, 2, device="meta"), "found weight without values"),
        (nn.LazyLinear(2), "found weight without values.*a batch first"),
        (nn.PReLU(3), "only biases, norm layers and filters of zeros in weight"),
        (nn.ReLU(), "in no part, expected some in any"),
        (begins_with_zeros(), "filters of zeros"),
        (lambda x: x, "found function, expected an nn.Module"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_network_whose_surface_would_be_flat_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        evaluate_plane(model, {"zero": lambda net: 0.0}, steps=3)


class Odd(nn.Module):
    """With all that a network of others may have: frozen, complex, integer and tied weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.waves = nn.Parameter(torch.randn(3, 3, dtype=torch.complex64))
        self.codes = nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("grown", torch.zeros(0))
        self.register_buffer("wide", torch.zeros(1).expand(3))
        self.register_buffer("none", None)
        self.register_buffer("phase", torch.tensor([1j]), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.grown = torch.cat([self.grown, x.new_ones(1)])
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.arange(3.0))
        x = self.second(self.first(x)) @ (self.codes * self.wide + 1) + self.late
        return {"out": (x * self.phase @ self.waves).abs(), "aux": [x]}


def test_odd_networks_move_and_come_back():
    torch.manual_seed(0)
    model = Odd()
    buffers, names = dict(model.named_buffers()), [name for name, _ in model.named_buffers()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = {"mean": lambda net: net(torch.ones(2, 3))["out"].mean()}
    plane = evaluate_plane(model, losses, steps=3)
    assert np.ptp(plane.values["mean"]) > 0
    assert plane.num_weights == 9 + 3 + 3 + 9  # without the codes; what is tied counts once
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert [name for name, _ in model.named_buffers()] == names
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())


def test_a_direction_of_complex_weights_is_complex():
    model = Odd()
    rng = torch.Generator().manual_seed(0)
    direction = random_direction(model, rng, parts=["waves"])["waves"]
    assert direction.imag.abs().min() > 0
    torch.testing.assert_close(direction.norm(dim=1), model.waves.detach().norm(dim=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_come_back_to_the_bit(dtype):
    model = network().to(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs = torch.randn(4, 3).to(dtype)
    plane = evaluate_plane(model, {"mean": lambda net: net(inputs).mean()}, steps=3)
    assert np.ptp(plane.values["mean"]) > 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


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
    with pytest.raises(ValueError, match="found a top for 'c', expected one of a, b, flat"):
        plot_plane(plane, tops={"c": 1.0})
    with pytest.raises(ValueError, match=r"a plane of one point.*Try steps=31"):
        plot_plane(Plane(np.zeros(1), {"a": grid[:1, :1]}, 1))


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_of_the_page_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(SNIPPETS[number], f"docs/landscapes.md, snippet {number + 1}", "exec"), {})
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]
