import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pfpn.data.toy import ToyStreet
from pfpn.engine.checkpoint import load_weights
from pfpn.losses.lovasz import lovasz_softmax
from pfpn.losses.segmentation import pixel_cross_entropy
from pfpn.model import ModelConfig, PanopticFPN
from pfpn.plot import landscape as ls
from pfpn.semantic import upsample_logits
from pfpn.structures import IGNORE

CHECKPOINTS = Path(__file__).resolve().parents[2] / "data" / "checkpoints"
STORED = CHECKPOINTS / "toy.landscape.jsonl"


def small_model(norm: str = "batch") -> PanopticFPN:
    torch.manual_seed(0)
    config = ModelConfig(
        num_things=6, num_semantic=6, depth=18, width=0.125, norm=norm, stride_in_1x1=False,
        frozen_stages=0, pyramid_channels=8, semantic_channels=8, box_hidden=8, mask_channels=8,
        mask_convs=1, channel_order="RGB", pixel_std=(58.0, 57.0, 57.0),
    )  # fmt: skip
    return PanopticFPN(config).eval()


@pytest.fixture(scope="module")
def model() -> PanopticFPN:
    return small_model()


@pytest.fixture(scope="module")
def batch(model: PanopticFPN) -> ls.SemanticBatch:
    street = ToyStreet(num=2, seed=1, size=(64, 96))
    return ls.semantic_batch(model, [street[0], street[1]])


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_every_filter_of_a_direction_is_as_long_as_the_filter_it_moves(model, rng):
    direction = ls.random_direction(model, rng)
    weights = ls.moved_parameters(model)
    assert direction.keys() == weights.keys()
    for name, weight in weights.items():
        if weight.ndim < 2:
            assert (direction[name] == 0).all(), name
        else:
            lengths = [t.detach().flatten(1).norm(dim=1) for t in (direction[name], weight)]
            assert_close(*lengths)


def test_filters_are_normalized_as_by_hand():
    weight = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    direction = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    expected = torch.tensor([[5.0, 0.0], [1.2, 1.6]])
    assert_close(ls.normalize_filters(direction, weight), expected)


def test_only_what_the_semantic_branch_uses_moves(model):
    names = ls.moved_parameters(model)
    assert {name.split(".")[0] for name in names} == {"backbone", "fpn", "semantic_head"}


def test_a_network_without_those_parts_is_refused(rng):
    for other, parts in ((nn.Sequential(nn.Linear(2, 2)), "0"), (nn.ReLU(), "no part")):
        with pytest.raises(ValueError, match=f"with parameters in {parts}, expected some in back"):
            ls.random_direction(other, rng)


def test_directions_depend_on_the_seed_alone(model):
    one, same, other = (
        ls.random_direction(model, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    name = next(name for name, tensor in one.items() if tensor.ndim > 1)
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


def test_the_losses_are_those_that_train(model, batch):
    with torch.no_grad():
        logits = upsample_logits(model.semantic_head(model.pyramid(batch.images)))
    losses = ls.semantic_losses(model, batch)
    assert losses["cross_entropy"] == pytest.approx(
        float(pixel_cross_entropy(logits, batch.labels))
    )
    lovasz = lovasz_softmax(logits.softmax(1), batch.labels, ignore=IGNORE)
    assert losses["lovasz_softmax"] == pytest.approx(float(lovasz), abs=1e-5)
    counts = batch.labels != IGNORE
    predicted = logits.argmax(1)
    ious = []
    for label in range(6):
        one, two = (predicted == label) & counts, batch.labels == label
        if (one | two).any():
            ious.append(float((one & two).sum() / (one | two).sum()))
    assert losses["miou_loss"] == pytest.approx(1 - sum(ious) / len(ious))


@pytest.mark.parametrize("statistics", ["kept", "batch"])
def test_nothing_of_the_model_changes_and_the_middle_is_the_model(model, batch, statistics):
    before, training = state(model), [module.training for module in model.modules()]
    landscape = ls.evaluate_landscape(model, batch, steps=3, statistics=statistics)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [module.training for module in model.modules()] == training
    here = ls.semantic_losses(model, batch)
    middle = {loss: float(values[1, 1]) for loss, values in landscape.values.items()}
    assert (middle == here) == (statistics == "kept")  # bits: 0 times a direction adds nothing


def test_the_weights_come_back_after_an_error(model, rng):
    before = state(model)
    direction = ls.random_direction(model, rng)

    def fail_after_the_move():
        with ls.moved(model, direction, direction, 1.0, 0.5):
            changed = ls.moved_parameters(model)
            assert any(not torch.equal(before[name], weight) for name, weight in changed.items())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_after_the_move()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_with_the_batch_statistics_the_scale_of_weights_makes_no_difference(batch):
    model = small_model()
    losses = []
    for factor in (1.0, 3.0):
        with torch.no_grad():
            for weight in model.backbone.parameters():
                if weight.ndim == 4:
                    weight.mul_(factor)
        values = ls.evaluate_landscape(model, batch, steps=1, statistics="batch").values
        losses.append(values["cross_entropy"][0, 0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_frozen_norms_have_only_one_kind_of_statistics(batch):
    model = small_model("frozen")
    kept, own = (
        ls.evaluate_landscape(model, batch, steps=1, statistics=kind).values["cross_entropy"]
        for kind in ("kept", "batch")
    )
    assert np.array_equal(kept, own)


def test_a_resumed_landscape_has_the_same_bits(model, batch, tmp_path, monkeypatch):
    whole = ls.evaluate_landscape(model, batch, steps=3, out=tmp_path / "whole.jsonl")
    out = tmp_path / "cut.jsonl"
    calls = 0
    losses = ls.semantic_losses

    def losses_until_interrupted(*arguments):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return losses(*arguments)

    monkeypatch.setattr(ls, "semantic_losses", losses_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        ls.evaluate_landscape(model, batch, steps=3, out=out)
    with pytest.raises(ValueError, match=r"1 rows, expected format 1 and 3 rows"):
        ls.load_landscape(out)
    calls = 100
    ls.evaluate_landscape(model, batch, steps=3, out=out)
    assert calls == 106  # the first row was not computed again
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    again = ls.load_landscape(out)
    for loss, values in whole.values.items():
        assert np.array_equal(values, again.values[loss])
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_file_of_another_plane_is_refused(model, batch, tmp_path):
    out = tmp_path / "one.jsonl"
    ls.evaluate_landscape(model, batch, steps=1, out=out)
    with pytest.raises(ValueError, match="with other seed, expected the same, to"):
        ls.evaluate_landscape(model, batch, steps=1, seed=5, out=out)
    with pytest.raises(ValueError, match="model, expected the same"):
        ls.evaluate_landscape(small_model("frozen"), batch, steps=1, out=out)
    out.write_text("{no json\n")
    with pytest.raises(ValueError, match="no readable landscape"):
        ls.load_landscape(out)


@pytest.mark.usefixtures("unchecked")
def test_a_grid_without_a_middle_is_refused(model, batch):
    with pytest.raises(ValueError, match="expected an odd number"):
        ls.evaluate_landscape(model, batch, steps=4)
    with pytest.raises(ValueError, match="expected kept or batch"):
        ls.evaluate_landscape(model, batch, steps=1, statistics="none")


def test_a_bar_shows_the_progress(model, batch, capsys):
    ls.evaluate_landscape(model, batch, steps=1, progress=True)
    assert "1/1" in capsys.readouterr().err


def test_bottoms_are_counted():
    bowl = np.add.outer(np.arange(-2, 3) ** 2, np.arange(-2, 3) ** 2).astype(float)
    assert ls.count_basins(bowl) == 1
    two = np.minimum(bowl, 6.5)
    two[0, 0] = -1
    assert ls.count_basins(two) == 2
    assert ls.count_basins(np.zeros((3, 3))) == 0


def test_the_stored_landscape_is_that_of_the_stored_model():
    stored = ls.load_landscape(STORED)
    header = json.loads(STORED.read_text().splitlines()[0])
    assert len(stored.axis) == ls.DEFAULT_STEPS
    model = load_weights(CHECKPOINTS / "toy.safetensors").model
    street = ToyStreet(num=4, seed=7)
    batch = ls.semantic_batch(model, [street[i] for i in range(4)])
    middle = len(stored.axis) // 2
    first, second = (
        ls.random_direction(model, rng)
        for rng in [torch.Generator().manual_seed(header["seed"])]
        for _ in range(2)
    )
    for row, column in ((middle, middle), (middle, 0), (middle + 4, middle - 3)):
        y, x = float(stored.axis[row]), float(stored.axis[column])
        with ls.moved(model, first, second, x, y):
            here = ls.semantic_losses(model, batch)
        for loss, values in stored.values.items():
            assert values[row, column] == pytest.approx(here[loss], rel=2e-3, abs=2e-4)


def test_the_figure_shows_each_loss_and_is_described_with_numbers():
    stored = ls.load_landscape(STORED)
    titles = [axes.get_title() for axes in ls.plot_landscapes(stored).axes]
    for title, _ in ls.LANDSCAPE_LOSSES.values():
        assert any(name.startswith(title) for name in titles)
    words = ls.describe_landscapes(stored)
    middle = len(stored.axis) // 2
    assert f"cross-entropy: {stored.values['cross_entropy'][middle, middle]:.3f} at" in words
    assert "can show no more" in words


# The path of a training ---------------------------------------------------------------------------


def test_the_plane_of_a_flat_path_shows_all_of_it(rng):
    directions = torch.linalg.qr(torch.randn(30, 2, generator=rng))[0].T
    spots = torch.randn(8, 2, generator=rng) * torch.tensor([3.0, 1.0])
    path = spots @ directions + torch.randn(30, generator=rng)
    plane = ls.fit_plane({"one": path[:5], "two": path[5:]})
    assert sum(plane.explained) == pytest.approx(1)
    assert plane.explained[0] > plane.explained[1]
    for name, part in (("one", path[:5]), ("two", path[5:])):
        spot = torch.from_numpy(plane.coordinates[name])
        assert_close(plane.origin + spot @ plane.directions, part, rtol=1e-4, atol=1e-5)
    assert ls.explained_fraction(path, plane.directions) == pytest.approx(1)


def test_a_random_plane_shows_little_and_is_square(rng):
    directions = ls.random_plane(2000, rng)
    assert_close(directions @ directions.T, torch.eye(2), rtol=0, atol=1e-5)
    path = torch.randn(20, 2000, generator=rng).cumsum(0)
    assert ls.explained_fraction(path, directions) < 0.02


def test_a_random_walk_has_the_steps_of_the_path(rng):
    path = torch.randn(9, 50, generator=rng).cumsum(0)
    walk = ls.random_walk(path, rng)
    assert torch.equal(walk[0], path[0])
    assert_close(walk.diff(dim=0).norm(dim=1), path.diff(dim=0).norm(dim=1))


def test_two_points_span_no_plane():
    with pytest.raises(ValueError, match="at least three"):
        ls.fit_plane({"short": torch.zeros(2, 4)})


# Comparing shapes ---------------------------------------------------------------------------------


def test_ranks_see_any_rising_function_as_the_same():
    values = np.array([0.1, 3.0, -2.0, 0.5, 0.5])
    assert ls.rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert ls.rank_correlation(values, -values) == pytest.approx(-1)
    # Ranks 1 2 3 and 1 2.5 2.5
    assert ls.rank_correlation(np.array([1.0, 2, 3]), np.array([0.0, 7, 7])) == pytest.approx(
        np.corrcoef([1, 2, 3], [1, 2.5, 2.5])[0, 1]
    )


def test_a_loss_that_rises_beyond_the_score_is_like_it_once_it_is_capped():
    axis = np.linspace(-1, 1, 7)
    score = np.hypot(*np.meshgrid(axis, axis)).clip(0, 0.8)
    steep = np.where(score < 0.8, 4 * score / 0.8, 50.0)
    values = {"cross_entropy": steep, "lovasz_softmax": score / 2, "miou_loss": score}
    measures = ls.compare_with_score(ls.Landscape(axis, values, "kept", 10))
    assert [*measures] == ["cross_entropy", "lovasz_softmax"]
    assert measures["lovasz_softmax"]["all points"] == pytest.approx(1)
    entropy = measures["cross_entropy"]
    assert entropy["all points"] < 0.95 < entropy["capped"]
    assert entropy["ranks"] == pytest.approx(1)
    assert entropy["inner third"] == pytest.approx(1)
