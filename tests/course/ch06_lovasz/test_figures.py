"""The numbers behind the figures of chapters 06 and 08, and their words."""

from math import log

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch.testing import assert_close

from pfpn.course.ch06_lovasz import figures as sets
from pfpn.losses.lovasz import (
    jaccard_loss,
    lovasz_extension,
    lovasz_hinge,
    lovasz_softmax,
    lovasz_softmax_from_logits,
)


def two_channels(errors, is_fg):
    """Probabilities of background and foreground that have these errors."""
    fg = torch.where(is_fg, 1 - errors, errors)
    return torch.stack([1 - fg, fg])[None, :, None], is_fg.long()[None, None]


def texts(figure):
    return " ".join(t.get_text() for axes in figure.axes for t in axes.texts)


# The loss of a set ------------------------------------------------------------------------------


@pytest.fixture
def regions():
    small, large = torch.zeros(2, 20, 20, dtype=torch.bool)
    small[4:8, 4:8] = True  # 16 pixels
    large[:, 10:] = True  # 200
    return small, large


def test_three_predictions_are_wrong_at_equally_many_pixels(regions):
    pairs = sets.same_count_predictions(*regions)
    said = {name: sets.judge(*pair) for name, pair in pairs.items()}
    assert {row["wrong"] for row in said.values()} == {8}
    assert len({row["cross_entropy"] for row in said.values()}) == 1
    assert_close(said["cut"]["iou"], 8 / 16)
    assert_close(said["grown"]["iou"], 16 / 24)
    assert_close(said["large"]["iou"], 192 / 200)


def test_what_is_cut_is_the_rim_and_what_is_grown_touches_it(regions):
    pairs = sets.same_count_predictions(*regions)
    truth, cut = pairs["cut"]
    assert cut[5:7, 5:7].all()  # the four inner pixels stay
    assert not (cut & ~truth).any()
    truth, grown = pairs["grown"]
    added = (grown & ~truth).nonzero()
    assert added.amin() >= 3
    assert added.amax() <= 8


def test_cross_entropy_of_one_confidence_depends_on_the_share_alone():
    truth = torch.tensor([[True, True, False, False]])
    said = sets.judge(truth, torch.tensor([[True, False, False, False]]), confidence=0.9)
    assert_close(said["cross_entropy"], -0.75 * log(0.9) - 0.25 * log(0.1))
    assert said["accuracy"] == 0.75
    assert said["iou"] == 0.5


def test_along_a_logit_only_the_jaccard_loss_jumps():
    axis = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    lines = sets.losses_along_a_logit(axis, sets.STEP_OTHERS, sets.STEP_TRUTH)
    assert len(np.unique(lines["jaccard"])) == 2
    assert np.abs(np.diff(lines["jaccard"])).max() == pytest.approx(1 / 3)
    for name in ("cross_entropy", "lovasz_softmax"):
        assert np.abs(np.diff(lines[name])).max() < 0.01
        assert (np.diff(lines[name]) <= 0).all()


# Diminishing returns ----------------------------------------------------------------------------


def test_rises_of_jaccard_fall_and_one_of_dice_grows():
    for values in sets.rises("jaccard", 10).values():
        assert (np.diff(values) <= 1e-12).all()
    assert (np.diff(sets.rises("dice", 10)["miss after missed"]) > 0).all()


def test_rises_of_jaccard_have_their_closed_forms():
    num_fg, k = 7, np.arange(7)
    found = sets.rises("jaccard", num_fg)
    assert_close(found["miss after added"], 1 / (num_fg + k))
    assert_close(found["add after missed"], (num_fg - k) / (num_fg * (num_fg + 1)))
    assert_close(found["add after added"], num_fg / ((num_fg + k) * (num_fg + k + 1)))


def test_an_unknown_set_loss_is_refused():
    with pytest.raises(ValueError, match="jaccard"):
        sets.set_loss("iou", 1, 1, 2)


# The extension ----------------------------------------------------------------------------------


def test_extension_weights_and_chain_agree_with_the_package(rng):
    for _ in range(20):
        m = torch.rand(7, generator=rng, dtype=torch.float64)
        truth = torch.rand(7, generator=rng) < 0.5
        expected = lovasz_extension(lambda wrong, y=truth: jaccard_loss(wrong, y), m)
        value, weights = sets.extend(m, truth.int().tolist())
        assert_close(value, expected)
        assert_close(weights @ m, expected)
        chain = sets.make_chain(m.tolist(), truth.int().tolist())
        assert_close(chain.extension, float(expected))
        assert_close(chain.shares.sum(), 1.0)


def test_a_mixture_of_two_pixels_by_hand():
    chain = sets.make_chain((0.3, 0.8), (1, 0))
    assert chain.order.tolist() == [1, 0]
    assert_close(chain.shares, np.array([0.2, 0.5, 0.3]))
    assert_close(chain.values, np.array([0, 0.5, 1]))
    assert_close(chain.extension, 0.55)


def test_the_mean_over_thresholds_is_the_extension():
    middles = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    loss = sets.thresholded_loss(middles, sets.EIGHT_ERRORS, sets.EIGHT_TRUTH)
    expected = sets.make_chain(sets.EIGHT_ERRORS, sets.EIGHT_TRUTH).extension
    assert_close(loss.mean(), expected, rtol=0, atol=1e-9)


def test_algorithm_1_on_eight_pixels_by_hand():
    steps = sets.run_algorithm()
    assert "".join(sets.LETTERS[i] for i in steps.order) == "dbgcfhae"
    assert steps.intersection == [3, 2, 2, 1, 1, 1, 0, 0]
    assert steps.union == [4, 4, 5, 5, 6, 7, 7, 8]
    assert_close(steps.weights[:4], [1 / 4, 1 / 4, 1 / 10, 1 / 5])
    assert abs(steps.weights[-1]) < 1e-12
    assert_close(sum(steps.weights), 1.0)
    assert_close(steps.total, sets.make_chain(sets.EIGHT_ERRORS, sets.EIGHT_TRUTH).extension)


def test_every_order_of_joining_gives_a_point_of_the_base_polytope():
    truth = (1, 0, 0)
    for weights in sets.base_vertices(truth).values():
        assert_close(sum(weights), 1.0)
        for wrong in range(8):
            members = torch.tensor([bool(wrong >> i & 1) for i in range(3)])
            bound = jaccard_loss(members, torch.tensor(truth).bool())
            assert (
                sum(w for w, is_in in zip(weights, members, strict=True) if is_in) <= bound + 1e-12
            )


def test_weight_maps_sum_to_one_and_leave_ignored_pixels_out(rng):
    probs = torch.randn(3, 6, 5, generator=rng).softmax(0)
    labels = torch.randint(3, (6, 5), generator=rng)
    labels[0] = 255
    errors, weights = sets.class_weight_maps(probs, labels, 1)
    assert_close(float(weights.sum()), 1.0)
    assert not weights[0].any()
    expected = lovasz_softmax(probs[None].double(), labels[None], classes=[1], ignore=255)
    assert_close((errors * weights).sum(), expected, rtol=1e-5, atol=1e-6)


# In use -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_losses_of_a_constant_are_those_of_the_package(share):
    p = torch.tensor([0.1, 0.4, 0.5, 0.9])
    found = sets.constant_losses(p, share, num=10)
    labels = (torch.arange(10) < round(10 * share)).long().view(1, 1, 10)
    for i, value in enumerate(p.double()):
        probs = torch.stack([1 - value, value]).view(1, 2, 1, 1).expand(1, 2, 1, 10)
        assert_close(found["class"][i], lovasz_softmax(probs, labels, classes=[1]).item())
        assert_close(found["present"][i], lovasz_softmax(probs, labels).item())


def test_the_undecided_are_told_to_stay_at_a_half():
    assert sets.best_constants(0.1)["class"] == pytest.approx(0.5)
    assert sets.best_constants(0.3)["class"] == pytest.approx(0.5)
    assert sets.best_constants(0.6)["class"] == pytest.approx(1.0)
    assert sets.best_constants(0.1, without=0.4)["class"] == pytest.approx(0.5)
    assert sets.best_constants(0.1, without=0.6)["class"] == 0
    assert sets.best_constants(0.3)["cross_entropy"] == pytest.approx(0.3)


def test_a_share_without_one_of_both_kinds_is_refused():
    with pytest.raises(ValueError, match="share"):
        sets.constant_losses(torch.tensor([0.5]), 0.0)


def test_batches_of_everything_have_the_loss_of_the_data_set(rng):
    counts = torch.tensor([[90, 5, 5], [1, 4, 5], [0, 0, 0]])
    found = sets.batch_losses(counts, [1, 3], rng, draws=600)
    assert_close(found["dataset"], 1 - 91 / 110)
    assert_close(found["mean"][1], found["dataset"])
    assert found["spread"][1] == pytest.approx(0, abs=1e-12)
    assert abs(found["shown"][0] - 2 / 3) < 0.08
    assert abs(found["mean"][0] - (0.1 + 0.9) / 2) < 0.06


def test_pulls_are_the_derivatives_of_the_losses():
    logits = torch.full((100,), -20.0, dtype=torch.float64)
    logits[:10] = 20
    logits[0] = -1.5
    labels = (torch.arange(100) < 10).long().view(1, 1, 100)
    pulls = sets.logit_pulls(np.array([-1.5]))

    def pull(loss):
        scores = logits.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(scores), scores)
        return -slope[0].item()

    def softmax(scores):
        two = torch.stack([-scores / 2, scores / 2])[None, :, None]
        return lovasz_softmax_from_logits(two, labels, classes=[1])

    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    assert_close(pull(softmax), pulls["lovasz_softmax"][0])
    assert_close(pull(lambda s: lovasz_hinge(s[None, None], labels)), pulls["hinge"][0])
    assert_close(pull(lambda s: entropy(s, labels.flatten().double())), pulls["cross_entropy"][0])


# Bins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["spread", "sure", "worst"])
def test_binned_loss_is_the_package_s_and_below_the_exact_one_by_at_most_a_bin(kind, rng):
    for bins in (1, 4, 32):
        errors, is_fg = sets.make_errors(kind, 0.1, rng, num=300, bins=bins)
        errors = errors.clamp(max=1)
        probs, labels = two_channels(errors, is_fg)
        binned, weights = sets.binned_weights(errors, is_fg, bins)
        expected = lovasz_softmax(probs, labels, classes=[1], bins=bins)
        assert_close(binned, expected.item(), rtol=1e-6, atol=1e-7)
        gap = float(sets.extend(errors, is_fg.int().tolist())[0]) - binned
        assert -1e-9 <= gap <= 1 / bins
        assert_close(float(weights.sum()), 1.0)


def test_measured_gaps_stay_below_the_bound_and_fall_with_the_square():
    bins = (8, 64, 512)
    bound = 1 / np.array(bins)
    for kind, share in sets.GAP_STYLES:
        gaps = sets.measure_gaps(kind, share, bins)
        assert (gaps >= -1e-12).all()
        assert (gaps <= bound).all()
    smooth = sets.measure_gaps("spread", 0.5, bins)
    assert smooth[0] / smooth[1] > 40  # 8 times the bins, about 64 times closer
    assert (sets.measure_gaps("worst", 0.001, bins) > 0.4 * bound).all()


def test_unknown_errors_are_refused(rng):
    with pytest.raises(ValueError, match="sure"):
        sets.make_errors("flat", 0.5, rng)


# The experiment ---------------------------------------------------------------------------------

TABLE = [
    {"world": "toy", "judged_on": "new", "compare": how, "arm": arm, "gains": [g, g + 1]}
    for how, extra in (("steps", 0), ("time", 5))
    for g, arm in enumerate(sets.ARM_NAMES, extra - 2)
]


def test_gains_are_those_at_equal_steps():
    found = sets.select_gains(TABLE, "toy", "new")
    assert list(found) == list(sets.ARM_NAMES)
    assert found["ce, lovasz"] == [-2, -1]
    with pytest.raises(ValueError, match="toy"):
        sets.select_gains(TABLE, "camvid", "new")


# Figures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["step", "rises", "square", "thresholds", "algorithm", "polytope", "constant",
     "logit_gradients", "bound"],
)  # fmt: skip
def test_figures_draw_and_speak(name):
    figure = getattr(sets, f"plot_{name}")()
    assert isinstance(figure, Figure)
    assert figure.get_size_inches()[0] <= 9
    figure.draw_without_rendering()
    words = getattr(sets, f"describe_{name}")()
    assert len(words) > 80
    assert any(sign.isdigit() for sign in words)


def test_the_algorithm_s_figure_shows_its_numbers():
    shown = texts(sets.plot_algorithm())
    for number in ("0.833", "0.143", "0.569", "1.000"):
        assert number in shown


def test_figures_of_data_draw_and_speak(regions, rng):
    image = torch.randint(0, 256, (3, 20, 20), generator=rng).to(torch.uint8)
    pairs = sets.same_count_predictions(*regions)
    probs = torch.randn(3, 20, 20, generator=rng).softmax(0)
    labels = torch.randint(3, (20, 20), generator=rng)
    counts = {"road": torch.tensor([[9, 1, 0], [3, 0, 3]])}
    history = {"a": [(1, 0.2), (2, 0.4)]}
    judged = {("toy", "new"): "streets"}
    points, kinds = torch.randn(30, 2, generator=rng), torch.arange(30) % 2
    figures = [
        sets.plot_same_count(image, pairs),
        sets.plot_weight_maps(image, probs, labels, 1, "road"),
        sets.plot_batch_losses(counts, [1, 2]),
        sets.plot_histories(history),
        sets.plot_gains(TABLE, judged),
        sets.plot_boundaries(points, kinds, {"line": (1.0, 2.0, 0.5)}),
        sets.plot_pixels(sets.EIGHT_ERRORS),
        sets.plot_bins(4, 0.2),
    ]
    for figure in figures:
        assert figure.get_size_inches()[0] <= 9
        figure.draw_without_rendering()
    assert "IoU 0.500" in sets.describe_same_count(pairs)
    assert "33% of the pixels" in sets.describe_weight_maps(
        probs, torch.arange(400).view(20, 20) % 3, 1, "x"
    )
    assert "over the data set" in sets.describe_batch_losses(counts, [1, 2])
    assert "a 0.40" in sets.describe_histories(history)
    assert "-1.5 (-2.0 to -1.0)" in sets.describe_gains(TABLE, judged)
