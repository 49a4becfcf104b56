import html
import importlib
import io

import numpy as np
import pytest
import torch
from PIL import Image

from pfpn.course.ch07_surfaces import explorers, numbers
from pfpn.course.explore import Explorer
from pfpn.course.show import PAGE_DPI, to_image

module = importlib.import_module("pfpn.course.explore")  # a function has the same name
ALT = "Contours of a loss with a point on them, and the errors of the pixels in falling order."
PAIR = {"truth": "01", "loss": "Lovász hinge", "x": 0.5, "y": -1.0}
SLICE = {
    "pixels": 30, "foreground": 20, "ignored": 10, "moving": "two groups",
    "loss": "Lovász-Softmax", "x": 0.5, "y": -1.0,
}  # fmt: skip


def pixels(explorer: Explorer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(explorer.png)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("knobs", "start"), [(explorers.PAIR_KNOBS, PAIR), (explorers.SLICE_KNOBS, SLICE)]
)
def test_a_moved_point_looks_as_if_all_were_drawn_anew(knobs, start):
    explorer = explorers.PointExplorer(knobs, [start], ALT)
    for x, y in ((-2.0, 1.5), (2.5, -0.5), (-1.0, 2.0)):
        explorer.controls["x"].value = x
        explorer.controls["y"].value = y
        whole = np.asarray(to_image(explorers.draw_slice(**explorer.settings()), PAGE_DPI)).astype(
            int
        )
        difference = np.abs(pixels(explorer) - whole)
        # The point is painted over the frame instead of below it: a few pixels at its edges.
        assert (difference.max(-1) > 60).mean() < 0.003


@pytest.mark.parametrize("knob", ["x", "y", "loss", "truth"])
def test_every_knob_of_two_pixels_changes_the_picture(knob):
    explorer = explorers.PointExplorer(explorers.PAIR_KNOBS, [PAIR], ALT)
    before = explorer.png
    other = {"x": 1.0, "y": 2.0, "loss": "Dice", "truth": "10"}[knob]
    explorer.controls[knob].value = other
    assert explorer.png != before


@pytest.mark.parametrize("knob", [*explorers.SLICE_KNOBS])
def test_every_knob_of_many_pixels_changes_the_picture(knob):
    explorer = explorers.PointExplorer(explorers.SLICE_KNOBS, [SLICE], ALT)
    before = explorer.png
    other = {"pixels": 60, "foreground": 50, "ignored": 40, "moving": "random", "loss": "Dice",
             "x": 1.0, "y": 2.0}[knob]  # fmt: skip
    explorer.controls[knob].value = other
    assert explorer.png != before
    explorer.controls[knob].value = SLICE[knob]
    assert explorer.png == before


def test_a_move_of_the_point_draws_no_surface_again(monkeypatch):
    explorer = explorers.PointExplorer(explorers.SLICE_KNOBS, [SLICE], ALT)
    calls = []
    prepare = explorers.prepare_slice
    monkeypatch.setattr(
        explorers, "prepare_slice", lambda *a, **k: calls.append(a) or prepare(*a, **k)
    )
    explorer.controls["x"].value = 2.0
    assert calls == []
    explorer.controls["pixels"].value = 50
    assert len(calls) == 1


def test_the_knobs_reach_the_slice():
    figure = explorers.draw_slice(**SLICE)
    piece = numbers.make_slice(30, 0.2, "two groups", ignored_fraction=0.1)
    read = numbers.read_point(piece.truth, piece.scores(0.5, -1.0), "lovasz_softmax", piece.counts)
    assert f"Lovász-Softmax: {read.value:.3f}" in figure.axes[0].get_title()
    num, inter, union = read.count_wrong()
    assert figure.axes[1].get_title() == f"{num} of 27 wrong: I = {inter}, U = {union}"


def test_two_pixels_are_read_by_name():
    figure = explorers.draw_slice(**PAIR)
    # truth 01, scores (0.5, -1): errors 1.5 and 2; the second joins first and costs all
    assert figure.axes[0].get_title() == "Lovász hinge: 2.000, slope (0.00, -1.00)"
    assert [text.get_text() for text in figure.axes[1].texts][-2:] == ["pixel 2", "pixel 1"]
    assert figure.axes[1].get_title() == "2 of 2 wrong: I = 0, U = 2"


RACE = {"loss": "Lovász hinge", "x": 3.0, "y": -2.5, "steps": 20}


@pytest.mark.parametrize("knob", explorers.RACE_KNOBS)
def test_every_knob_of_a_race_changes_the_picture(knob):
    explorer = Explorer(explorers.plot_race, [RACE], explorers.RACE_KNOBS, ALT)
    before = explorer.png
    explorer.controls[knob].value = {"loss": "Dice", "x": 1.0, "y": 2.0, "steps": 30}[knob]
    assert explorer.png != before


def test_the_second_pixel_changes_the_triangles():
    explorer = Explorer(
        explorers.plot_simplex, [{"second_pixel_right": 0.6}], explorers.SIMPLEX_KNOBS, ALT
    )
    before = explorer.png
    explorer.controls["second_pixel_right"].value = 0.2
    assert explorer.png != before


@pytest.mark.parametrize(
    ("show", "frames"),
    [
        (explorers.explore_pair, [PAIR, {**PAIR, "loss": "Dice"}]),
        (explorers.explore_slice, [SLICE, {**SLICE, "moving": "random"}]),
        (explorers.explore_race, [RACE, {**RACE, "loss": "Dice"}]),
        (explorers.explore_simplex, [{"second_pixel_right": 0.6}, {"second_pixel_right": 0.2}]),
    ],
)
@pytest.mark.parametrize("static", [True, False])
def test_an_explorer_shows_frames_or_sliders(show, frames, static, monkeypatch):
    published = []
    monkeypatch.setattr(
        explorers, "publish", lambda image, alt, colors: published.append({"alt": alt})
    )
    monkeypatch.setattr(module, "publish_display_data", lambda data, **_: published.append(data))
    for each in (module, explorers, importlib.import_module("pfpn.course.show")):
        monkeypatch.setattr(each, "is_static", lambda: static)
    show(frames, ALT)
    if static:
        (output,) = published
        assert output["alt"].startswith(ALT)
    else:
        sliders, picture = published
        assert "application/vnd.jupyter.widget-view+json" in sliders
        assert "image/png" in picture


def test_a_click_moves_the_point():
    explorer = explorers.PointExplorer(explorers.PAIR_KNOBS, [PAIR], ALT)
    axes = explorer.figure.axes[0]
    right, up = axes.figure.transFigure.inverted().transform(axes.transData.transform((1.5, -2.0)))
    explorer._click.value = f"{right} {1 - up}"
    assert explorer.settings() == PAIR | {"x": pytest.approx(1.5), "y": pytest.approx(-2.0)}


def lovasz_hinge_of_01(scores, truth):
    first, second = (1 - (2 * t - 1) * scores[..., i] for i, t in enumerate(truth))
    first, second = first.relu(), second.relu()
    return torch.maximum(second, (first + second) / 2)


def test_the_readers_loss_is_drawn_in_place_of_the_chosen_one():
    explorer = explorers.PointExplorer(explorers.PAIR_KNOBS, [PAIR], ALT, lovasz_hinge_of_01)
    assert explorer.message.value == ""
    assert explorer.figure.axes[0].get_title() == (
        "yours: 2.000, slope (0.00, -1.00)\nLovász hinge: 2.000, slope (0.00, -1.00)"
    )
    explorer.controls["x"].value = -1.0  # the point alone is drawn again
    assert explorer.figure.axes[0].get_title().startswith("yours: 2.000, slope (0.00, -1.00)")
    explorer.controls["truth"].value = "00"  # there the closed form of 01 is another loss
    explorer.controls["x"].value = 2.0
    assert explorer.figure.axes[0].get_title() == (
        "yours: 1.500, slope (0.50, 0.00)\nLovász hinge: 3.000, slope (1.00, 0.00)"
    )
    mine = pixels(explorer)
    explorer.controls["yours"].value = False
    assert explorer.figure.axes[0].get_title().startswith("Lovász hinge: ")
    assert (pixels(explorer) != mine).any()


def unwritten(scores, truth):
    raise NotImplementedError


def of_the_batch(scores, truth):
    return scores.sum()


def no_tensor(scores, truth):
    return 1.0


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (unwritten, "unwritten is not written yet"),
        (of_the_batch, "the result is (), expected (33, 33)"),
        (no_tensor, "the result is float, expected (33, 33)"),
    ],
)
def test_a_loss_that_does_not_work_is_named_and_the_packages_is_drawn(yours, words):
    explorer = explorers.PointExplorer(explorers.PAIR_KNOBS, [PAIR], ALT, yours)
    assert words in html.unescape(explorer.message.value)
    assert explorer.figure.axes[0].get_title() == "Lovász hinge: 2.000, slope (0.00, -1.00)"
    surface = explorer._canvas
    explorer.controls["x"].value = 1.0
    assert words in html.unescape(explorer.message.value)
    assert explorer._canvas is surface  # the point alone is drawn again


def test_a_loss_without_a_slope_has_none():
    explorer = explorers.PointExplorer(
        explorers.PAIR_KNOBS, [PAIR], ALT, lambda scores, truth: torch.ones(scores.shape[:-1])
    )
    assert explorer.figure.axes[0].get_title().startswith("yours: 1.000, slope (0.00, 0.00)")
