"""Figures with descriptions, explorers with and without sliders, predictions."""

import asyncio
import base64
import importlib
import io
import json

import ipywidgets
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display, publish_display_data  # noqa: F401  captured below
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from PIL import Image

from pfpn.course import Explorer, ask, explore, is_static, show, tally
from pfpn.course.explore import caption, contact_sheet, quick_png
from pfpn.course.show import PAGE_DPI, to_image, to_png

exploring = importlib.import_module("pfpn.course.explore")
asking = importlib.import_module("pfpn.course.ask")  # a function has the same name
WORDS = "A straight line through the origin, of the slope that was chosen."


@pytest.fixture(scope="module", autouse=True)
def _shell():
    """An IPython without a kernel, so that what is displayed can be captured."""
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.fixture
def live(monkeypatch):
    """A notebook with a live kernel."""
    monkeypatch.delenv("PFPN_STATIC", raising=False)
    monkeypatch.setattr(InteractiveShell, "kernel", object(), raising=False)


@pytest.fixture
def published(monkeypatch) -> list[str]:
    """The plain text of what is shown, outputs that are changed later among it."""
    texts = []

    def publish(data, **_):
        texts.append(data["text/plain"])
        publish_display_data(data)

    monkeypatch.setattr(asking, "publish_display_data", publish)
    return texts


def line(slope=1.0, grid=True, kind="a"):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, slope])
    axes.set_title(kind)
    axes.grid(grid)
    return figure


FRAMES = [{"slope": 1.0, "grid": True, "kind": "a"}, {"slope": 2.0, "grid": False, "kind": "b"}]
KNOBS = {"slope": (0.0, 3.0), "grid": True, "kind": ["a", "b"]}


def outputs(run):
    with capture_output() as captured:
        run()
    return captured.outputs


def test_a_figure_is_shown_once_with_its_description_and_its_size():
    (output,) = outputs(lambda: show(line(), WORDS))
    assert output.data["text/plain"] == f"Figure: {WORDS}"
    assert output.metadata["image/png"] == {"alt": WORDS, "width": 288, "height": 192}
    json.dumps(output.data)  # a notebook can hold it


def test_with_few_colors_large_areas_keep_theirs():
    image = Image.new("RGB", (40, 30), "white")
    image.paste((10, 200, 30), (0, 0, 20, 30))
    for x in range(20):
        image.putpixel((20 + x, 0), (200 + x, 255 - x, 7 * x))  # twenty small ones
    small = Image.open(io.BytesIO(to_png(image, colors=4))).convert("RGB")
    assert small.getpixel((5, 5)) == (10, 200, 30)
    assert small.getpixel((35, 20)) == (255, 255, 255)
    assert len(small.getcolors()) <= 4
    assert len(to_png(image, colors=4)) < len(to_png(image))


@pytest.mark.parametrize("words", ["", "A line."])
def test_a_figure_without_a_description_is_refused(words):
    with pytest.raises(ValueError, match="expected at least 40"):
        show(line(), words)


def test_a_figure_wider_than_the_page_is_refused():
    with pytest.raises(ValueError, match=r"12\.0 inches wide"):
        show(Figure(figsize=(12, 2)), WORDS)


def test_without_a_kernel_everything_is_static():
    assert is_static()


def test_the_environment_makes_a_live_notebook_static(live, monkeypatch):
    assert not is_static()
    monkeypatch.setenv("PFPN_STATIC", "1")
    assert is_static()


def test_a_static_explorer_shows_every_frame_with_its_caption():
    (output,) = outputs(lambda: explore(line, FRAMES, WORDS, **KNOBS))
    assert output.data["text/plain"] == (
        f"Figure: {WORDS} Frames: slope 1, grid on, kind a; slope 2, grid off, kind b."
    )
    assert output.metadata["image/png"]["width"] > 2 * 288


def test_frames_stand_side_by_side_while_there_is_room():
    one, three, four = (contact_sheet(line, FRAMES[:1] * n) for n in (1, 3, 4))
    assert three.width > 2.9 * one.width
    assert three.height == one.height
    assert four.height == 2 * one.height


def test_a_caption_is_the_settings_in_words():
    assert caption({"top_down": False, "stride": 4, "at": 0.25, "mode": "mean"}) == (
        "top down off, stride 4, at 0.25, mode mean"
    )


def shown(explorer):
    """The picture that a live explorer shows."""
    return Image.open(io.BytesIO(explorer.png))


def test_a_live_explorer_redraws_when_a_knob_moves():
    explorer = Explorer(line, FRAMES, KNOBS, WORDS)
    assert explorer.settings() == FRAMES[0]
    before = explorer.png
    for name, value in FRAMES[1].items():
        explorer.controls[name].value = value
        assert explorer.png != before
        before = explorer.png
    assert explorer.settings() == FRAMES[1]
    assert shown(explorer).size == (288, 192)


def test_what_is_shown_live_is_what_would_be_stored():
    live = np.asarray(shown(Explorer(line, FRAMES, KNOBS, WORDS)).convert("RGB")).astype(int)
    stored = np.asarray(to_image(line(**FRAMES[0]), PAGE_DPI)).astype(int)
    assert np.abs(live - stored).max() <= 1


def wide_labels(slope=1.0):
    figure = Figure(figsize=(3, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 10**slope])
    return figure


def test_a_slow_figure_keeps_its_layout_until_the_sliders_rest(monkeypatch):
    monkeypatch.setattr(exploring, "QUICK", 0.0)
    monkeypatch.setattr(exploring, "REST", 0.01)

    async def drag():
        explorer = Explorer(wide_labels, [{"slope": 1.0}], {"slope": (0.0, 9.0)}, WORDS)
        (before,) = (axes.get_position().bounds for axes in explorer.figure.axes)
        for value in (3.0, 6.0):
            explorer.controls["slope"].value = value
            (axes,) = explorer.figure.axes
            assert axes.get_position().bounds == before
            assert explorer.png != quick_png(wide_labels(value))
        await asyncio.sleep(0.1)
        assert explorer.png == quick_png(wide_labels(6.0))

    asyncio.run(drag())


def test_a_button_sets_all_knobs_to_a_frame_and_draws_once():
    drawn = []

    def draw(**settings):
        drawn.append(settings)
        return line(**settings)

    explorer = Explorer(draw, FRAMES, KNOBS, WORDS)
    first, second = explorer.buttons
    assert second.description == "2   slope 2, grid off, kind b"
    second.click()
    assert drawn == FRAMES
    first.click()
    assert explorer.settings() == FRAMES[0]


def test_a_live_picture_says_what_it_shows():
    explorer = Explorer(line, FRAMES, KNOBS, 'A "line" < 45 degrees steep, through the origin.')
    explorer.buttons[1].click()
    assert (
        'alt="A &quot;line&quot; &lt; 45 degrees steep, through the origin. '
        'Now: slope 2, grid off, kind b."' in explorer.picture.value
    )


def place(at=(0.0, 1.0), up=1.0):
    figure = Figure(figsize=(4, 2))
    for axes in figure.subplots(1, 2):
        axes.set(xlim=(0, 10), ylim=(20, 0))
        axes.plot([at], [up], "o")
    return figure


def test_a_click_sets_two_knobs_to_the_nearest_values():
    knobs = {"at": (0, 8), "up": (0.0, 20.0, 0.5)}
    explorer = Explorer(place, [{"at": 1, "up": 2.0}], knobs, WORDS, point=("at", "up"))
    assert "onclick" in explorer.picture.value
    for axes in explorer.figure.axes:
        for x, y, expected in (
            (3.3, 7.6, {"at": 3, "up": 7.5}),
            (9.9, 0.1, {"at": 8, "up": 0.0}),
        ):
            pixel = axes.transData.transform((x, y))
            right, up = axes.figure.transFigure.inverted().transform(pixel)
            explorer._click.value = f"{right} {1 - up}"
            assert explorer.settings() == expected
    explorer._click.value = "0.001 0.001"  # outside of the axes
    assert explorer.settings() == {"at": 8, "up": 0.0}


def test_a_picture_without_a_point_takes_no_click():
    assert "onclick" not in Explorer(line, FRAMES, KNOBS, WORDS).picture.value


def test_a_point_needs_two_ranges(live):
    with pytest.raises(ValueError, match="point names 'kind', expected two knobs that are ranges"):
        explore(line, FRAMES, WORDS, point=("slope", "kind"), **KNOBS)


def steepest(slope):
    return 2 * slope


def with_yours(slope=1.0, yours=None):
    return line(yours(slope) if yours else slope)


def test_the_readers_own_function_is_drawn_and_can_be_switched_off():
    explorer = Explorer(with_yours, [{"slope": 1.0}], {"slope": (0.0, 3.0)}, WORDS, yours=steepest)
    own = explorer.png
    assert explorer.message.value == ""
    explorer.controls["yours"].value = False
    assert explorer.png == quick_png(line(1.0)) != own


def test_what_is_wrong_with_the_readers_function_is_said_and_ours_is_drawn():
    def unwritten(slope):
        raise NotImplementedError

    def broken(slope):
        return [][slope]

    for mine, words in (
        (unwritten, "unwritten is not written yet. The package&#x27;s is shown."),
        (broken, "broken raised TypeError: list indices must be integers or slices, not float."),
    ):
        explorer = Explorer(with_yours, [{"slope": 1.0}], {"slope": (0.0, 3.0)}, WORDS, yours=mine)
        assert words in explorer.message.value
        assert explorer.png == quick_png(line(1.0))


def test_what_is_no_function_is_refused(unchecked):
    with pytest.raises(ValueError, match=r"yours is int .*expected your function"):
        explore(with_yours, [{"slope": 1.0}], WORDS, yours=3, slope=(0.0, 3.0))


def test_a_knob_becomes_the_control_that_fits():
    knobs = {
        "whole": (1, 5),
        "part": (0.0, 1.0),
        "even": (2, 8, 2),
        "flag": True,
        "choice": ["x", "y"],
    }
    start = {"whole": 1, "part": 0.5, "even": 4, "flag": False, "choice": "y"}
    controls = Explorer(lambda **_: line(), [start], knobs, WORDS).controls
    assert isinstance(controls["whole"], ipywidgets.IntSlider)
    assert isinstance(controls["part"], ipywidgets.FloatSlider)
    assert controls["even"].step == 2
    assert isinstance(controls["flag"], ipywidgets.Checkbox)
    assert controls["choice"].options == ("x", "y")


def test_a_live_notebook_has_sliders_and_below_them_the_stored_picture(live):
    sliders, picture = outputs(lambda: explore(line, FRAMES, WORDS, **KNOBS))
    assert set(sliders.data) == {"application/vnd.jupyter.widget-view+json", "text/plain"}
    sheet = Image.open(io.BytesIO(base64.b64decode(picture.data["image/png"])))
    assert sheet.width > 2 * 1.5 * 288
    assert picture.metadata["image/png"]["alt"].endswith("slope 2, grid off, kind b.")
    assert picture.data["image/png"] in picture.data["text/html"]
    assert ":has(.pfpn-explorer)" in picture.data["text/html"]  # hidden while the sliders work


def test_a_live_figure_comes_with_a_description_that_jupyterlab_shows(live):
    (output,) = outputs(lambda: show(line(), WORDS))
    assert output.data["text/html"].startswith(f'<img alt="{WORDS}" width="288" height="192"')
    assert output.data["image/png"] in output.data["text/html"]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "no frames"),
        ([{"slope": 1.0}], r"frame 1 sets \['slope'\], expected the knobs"),
        ([FRAMES[0], FRAMES[0] | {"slope": 9.0}], r"frame 2: slope is 9\.0, expected 0\.0 to 3"),
        ([FRAMES[0] | {"kind": "z"}], r"kind is 'z', expected one of \['a', 'b'\]"),
        ([FRAMES[0] | {"grid": 1}], "grid is 1, expected True or False"),
    ],
)
def test_frames_with_values_that_a_knob_lacks_are_refused(frames, words):
    with pytest.raises(ValueError, match=words):
        explore(line, frames, WORDS, **KNOBS)


def shown_texts(run):
    return [output.data["text/plain"] for output in outputs(run)]


def test_a_static_question_is_text():
    assert shown_texts(lambda: ask("How steep?", ["flat", "steep"])) == [
        "Your prediction? How steep?\n\n- flat\n- steep"
    ]
    assert shown_texts(lambda: ask("How many?", unit="cells")) == [
        "Your prediction? How many? (a number of cells)"
    ]


def test_an_answer_is_shown_beside_the_result():
    guess = ask("How many?", unit="cells", answer=20)
    assert shown_texts(lambda: guess.reveal(24, "Six by four.")) == [
        "You said: 20 cells. It is: 24 cells. Not this time. Six by four."
    ]
    assert guess.right is False


def test_a_number_near_enough_is_right():
    guess = ask("How many?", answer=20)
    guess.reveal(24, tolerance=5)
    assert guess.right is True


def test_no_answer_is_neither_right_nor_wrong():
    guess = ask("How steep?", ["flat", "steep"])
    assert shown_texts(lambda: guess.reveal("flat")) == ["You said: no prediction. It is: flat."]
    assert guess.right is None


def test_a_live_answer_is_read_from_its_widget_and_then_fixed(live):
    guess = ask("How steep?", ["flat", "steep"])
    guess.control.value = "steep"
    guess.reveal("flat")
    assert (guess.answer, guess.right) == ("steep", False)
    assert guess.control.disabled
    guess.control.value = "flat"  # too late
    guess.reveal("flat")
    assert guess.right is False


def test_without_a_prediction_a_live_result_is_kept_back_until_there_is_one(live, published):
    guess = ask("How steep?", ["flat", "steep"])
    shown = outputs(lambda: guess.reveal("flat", "It has no slope."))
    assert shown[0].data["text/plain"].startswith("No prediction yet. Choose at the question")
    assert "flat" not in str([output.data for output in shown])
    assert guess.truth is None
    guess.control.value = "steep"
    assert published[-1] == "You said: steep. It is: flat. Not this time. It has no slope."
    assert (guess.right, guess.control.disabled) == (False, True)


def test_a_live_reader_may_see_the_result_without_a_prediction(live, published, monkeypatch):
    buttons = []
    monkeypatch.setattr(asking, "display", lambda shown, **_: buttons.append(shown))
    guess = ask("How many?", unit="cells")
    guess.reveal(24)
    guess.reveal(24)  # the cell is run again
    buttons[-1].click()
    assert published[-1] == "You said: no prediction. It is: 24 cells."
    assert guess.right is None
    assert [button.layout.display for button in buttons[1:]] == ["none", "none"]
    guess.reveal(24)
    assert published[-1] == "You said: no prediction. It is: 24 cells."


@pytest.mark.parametrize(("typed", "right"), [("24", True), ("24,0", True), ("many", None)])
def test_a_typed_number_is_read_and_other_text_is_no_prediction(live, typed, right):
    guess = ask("How many?", unit="cells")
    guess.control.value = typed
    guess.reveal(24)
    assert guess.right is right
    assert (guess.truth is None) is (right is None)


def test_a_result_or_an_answer_that_is_no_option_is_refused():
    with pytest.raises(ValueError, match="'round' is none of the options"):
        ask("How steep?", ["flat", "steep"], answer="round")
    with pytest.raises(ValueError, match="the result 'round' is none of the options"):
        ask("How steep?", ["flat", "steep"]).reveal("round")


def test_a_tally_counts_the_predictions():
    right, wrong, none = ask("A?", answer=1), ask("B?", answer=2), ask("C?")
    for guess in (right, wrong, none):
        guess.reveal(1)
    assert shown_texts(lambda: tally(right, wrong, none)) == [
        "Your predictions: 2 of 3 made, 1 of them right."
    ]
    assert "none of this chapter's 1 predictions" in shown_texts(lambda: tally(none))[0]
