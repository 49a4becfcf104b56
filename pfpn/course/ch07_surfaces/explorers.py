"""Explorers of loss surfaces: sliders over the figures of slices, races and triangles.

A reader moves a point over a surface and sees value, slope, order of the errors, intersection and
union follow. When only the point moves, only what depends on it is drawn again; the rest is copied.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pfpn.course.ch07_surfaces.descents import DESCENT_LOSSES
from pfpn.course.ch07_surfaces.figures_descents import MAX_STEPS, plot_race
from pfpn.course.ch07_surfaces.figures_simplex import plot_simplex
from pfpn.course.ch07_surfaces.figures_slices import draw_point, plot_slice, prepare_slice
from pfpn.course.ch07_surfaces.numbers import (
    PLANES,
    REACH,
    Slice,
    make_pair,
    make_slice,
    one_loss_per_point,
)
from pfpn.course.explore import (
    Explorer,
    Knob,
    check_frames,
    contact_sheet,
    describe_frames,
    explore,
    require_function,
    show_explorer,
)
from pfpn.course.show import PAGE_DPI, is_static, publish, require_words
from pfpn.plot.surface import LOSSES

TITLES = {title: loss for loss, (title, _, _) in LOSSES.items()}
POINT: dict[str, Knob] = {"x": (-REACH, REACH, 0.05), "y": (-REACH, REACH, 0.05)}
PAIR_KNOBS: dict[str, Knob] = {"truth": ["00", "01", "10", "11"], "loss": list(TITLES), **POINT}
SLICE_KNOBS: dict[str, Knob] = {
    "pixels": (2, 200), "foreground": (1, 99), "ignored": (0, 90), "moving": list(PLANES),
    "loss": list(TITLES), **POINT,
}  # fmt: skip
RACE_KNOBS: dict[str, Knob] = {
    "loss": list(DESCENT_LOSSES), "x": (-4.0, 4.0, 0.1), "y": (-4.0, 4.0, 0.1),
    "steps": (1, MAX_STEPS),
}  # fmt: skip
STORED_COLORS = 32  # of flat contours and lines
SIMPLEX_KNOBS: dict[str, Knob] = {"second_pixel_right": (0.0, 1.0, 0.05)}


class PointExplorer(Explorer):
    """An explorer of one surface with a point on it; a move of the point redraws the point alone.

    Args:
        knobs: PAIR_KNOBS or SLICE_KNOBS.
        frames: settings with a button each; the first are those at the start.
        alt: what is shown, in words.
        yours: the reader's loss, a function of scores (..., p) and the truth, drawn in place of the
            chosen one.
    """

    def __init__(
        self,
        knobs: Mapping[str, Knob],
        frames: Sequence[Mapping[str, Any]],
        alt: str,
        yours: Callable[..., Any] | None = None,
    ):
        self._surface: dict[str, Any] = {}  # settings that are drawn and kept
        super().__init__(draw_slice, frames, knobs, alt, point=("x", "y"), yours=yours)

    def _redraw(self) -> None:
        self.with_yours(self._redraw_with)

    def _redraw_with(self, yours: Callable[..., Any] | None = None) -> None:
        settings = self.settings()
        point = (settings.pop("x"), settings.pop("y"))
        surface = {**settings, "yours": yours}
        if surface != self._surface:
            piece, loss = _piece_of(**settings), TITLES[settings["loss"]]
            own = None if yours is None else one_loss_per_point(yours)
            figure, panels = prepare_slice(piece, loss, yours=own)  # the reader's may fail here
            self._piece, self._loss, self._own, self._panels = piece, loss, own, panels
            figure.set_dpi(PAGE_DPI)
            self._canvas = FigureCanvasAgg(figure)
            self._canvas.draw()
            self._rest = self._canvas.copy_from_bbox(figure.bbox)
            self._surface = surface
        self._canvas.restore_region(self._rest)
        for artist in draw_point(self._panels, self._piece, self._loss, point, self._own):
            artist.axes.draw_artist(artist)
            if artist is not artist.axes.title:
                artist.remove()
        buffer = io.BytesIO()
        picture = Image.frombuffer(
            "RGBA", self._canvas.get_width_height(), self._canvas.buffer_rgba()
        )
        picture.convert("RGB").save(buffer, format="png", compress_level=1)
        self.paint(self._canvas.figure, buffer.getvalue())


def draw_slice(
    loss: str, x: float, y: float, yours: Callable[..., Any] | None = None, **settings: Any
) -> Figure:
    """Draw `plot_slice` with the settings of the knobs."""
    return plot_slice(_piece_of(loss=loss, **settings), TITLES[loss], (x, y), yours=yours)


def explore_pair(
    frames: Sequence[Mapping[str, Any]], alt: str, yours: Callable[..., Any] | None = None
) -> None:
    """Show any loss of two pixels with a point to move.

    Args:
        frames: values for truth, loss, x and y; the sliders start at the first.
        alt: what the frames show, in words.
        yours: the reader's own loss, a function of scores (..., 2) and the truth. A live explorer
            draws it in place of the chosen one, and prints the values of both.

    Raises:
        ValueError: `yours` is no function.
    """
    require_function(yours)
    _explore_point(PAIR_KNOBS, frames, alt, yours)


def explore_slice(frames: Sequence[Mapping[str, Any]], alt: str) -> None:
    """Show any loss of many pixels on a plane through their scores, with a point to move.

    Args:
        frames: values for pixels, foreground and ignored (percent), moving, loss, x and y.
        alt: what the frames show, in words.
    """
    _explore_point(SLICE_KNOBS, frames, alt)


def explore_race(frames: Sequence[Mapping[str, Any]], alt: str) -> None:
    """Show four optimizers that descend from one start on one loss of two pixels.

    Args:
        frames: values for loss, x and y of the start, and steps.
        alt: what the frames show, in words.
    """
    _explore(plot_race, RACE_KNOBS, frames, alt, point=("x", "y"))


def explore_simplex(frames: Sequence[Mapping[str, Any]], alt: str) -> None:
    """Show losses over the probabilities of three classes.

    Args:
        frames: values for `second_pixel_right`, the probability of the second pixel's true class.
        alt: what the frames show, in words.
    """
    _explore(plot_simplex, SIMPLEX_KNOBS, frames, alt)


def _explore_point(
    knobs: Mapping[str, Knob],
    frames: Sequence[Mapping[str, Any]],
    alt: str,
    yours: Callable[..., Any] | None = None,
) -> None:
    if is_static():
        _explore(draw_slice, knobs, frames, alt)
        return
    require_words(alt)
    check_frames(frames, knobs)
    explorer = PointExplorer(knobs, frames, alt, yours)
    show_explorer(explorer, contact_sheet(draw_slice, frames), frames)


def _explore(
    draw: Callable[..., Figure],
    knobs: Mapping[str, Any],
    frames: Sequence[Mapping[str, Any]],
    alt: str,
    point: tuple[str, str] | None = None,
) -> None:
    """Show an explorer; its stored picture has few colors, for this chapter has many pictures."""
    if not is_static():
        explore(draw, frames, alt, point=point, yours=None, **knobs)
        return
    require_words(alt)
    check_frames(frames, knobs)
    publish(contact_sheet(draw, frames), describe_frames(alt, frames), STORED_COLORS)


def _piece_of(loss: str, **settings: Any) -> Slice:
    if "truth" in settings:
        return make_pair([int(label) for label in settings["truth"]])
    return make_slice(
        settings["pixels"],
        settings["foreground"] / 100,
        settings["moving"],
        ignored_fraction=settings["ignored"] / 100,
    )
