import pytest
from matplotlib.figure import Figure

from pfpn.model import LOSS_NAMES
from pfpn.plot.curves import loss_label, plot_curves, running_mean


def rows_of(num: int) -> list[dict]:
    rows = [
        {"kind": "train", "step": 10 * i, "lr": 0.1 / i, "loss": 6.0 / i}
        | dict.fromkeys(LOSS_NAMES, 1.0 / i)
        for i in range(1, num + 1)
    ]
    return [*rows, {"kind": "eval", "step": 10 * num, "pq": 0.5}] if num else []


def test_curves_show_every_loss_the_total_the_rate_and_the_quality():
    figure = plot_curves(rows_of(5))
    assert isinstance(figure, Figure)
    parts, total, rate, quality = figure.axes
    labels = [text.get_text() for text in parts.get_legend().get_texts()]
    assert labels == [loss_label(name) for name in LOSS_NAMES]
    assert len(total.lines) == 2  # as logged and smoothed
    assert rate.lines[0].get_ydata().tolist() == [0.1 / i for i in range(1, 6)]
    assert quality.lines[0].get_ydata().tolist() == [50.0]


def test_unsmoothed_curves_are_the_rows_themselves():
    total = plot_curves(rows_of(3), smoothing=0.0).axes[1]
    assert len(total.lines) == 1
    assert total.lines[0].get_xdata().tolist() == [10, 20, 30]
    assert total.lines[0].get_ydata().tolist() == [6.0, 3.0, 2.0]


def test_only_the_losses_that_were_trained_are_drawn():
    rows = [{"kind": "train", "step": 1, "lr": 0.1, "loss": 1.0, "loss_semantic": 1.0}]
    labels = [text.get_text() for text in plot_curves(rows).axes[0].get_legend().get_texts()]
    assert labels == ["semantic"]


def test_a_run_without_rows_gives_empty_axes():
    assert len(plot_curves([]).axes) == 3


def test_a_label_is_the_name_in_words():
    assert loss_label("loss_rpn_box") == "rpn box"
    assert loss_label("loss") == "loss"


def test_a_running_mean_of_equal_values_is_that_value():
    assert running_mean([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])


def test_a_running_mean_weighs_each_row_back_by_its_weight():
    assert running_mean([1.0, 4.0], 0.5) == pytest.approx([1.0, (0.5 * 1 + 4) / 1.5])
    assert running_mean([1.0, 4.0], 0.0) == [1.0, 4.0]


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_outside_its_range_is_refused(smoothing):
    with pytest.raises(ValueError, match="smoothing"):
        plot_curves([], smoothing=smoothing)
