"""Explorers of loss surfaces: sliders over the figures of `figures_slices`.

A reader moves a point over a surface and sees value, slope, order of the errors, intersection and
union follow. When only the point moves, only what depends on it is drawn again; the rest is copied.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pfpn.course.ch07_surfaces.figures_slices import (
    draw_point,
    plot_bin_pair,
    plot_slice,
    prepare_slice,
)
from pfpn.course.ch07_surfaces.numbers import (
    LOVASZ,
    PLANES,
    REACH,
    Slice,
    make_pair,
    make_slice,
)
from pfpn.course.explore import (
    Explorer,
    Knob,
    check_frames,
    contact_sheet,
    explore,
    show_explorer,
)
from pfpn.course.show import PAGE_DPI, is_static, require_words
from pfpn.plot.surface import LOSSES

TITLES = {title: loss for loss, (title, _, _) in LOSSES.items()}
LOVASZ_TITLES = [LOSSES[loss][0] for loss in LOVASZ]
POINT: dict[str, Knob] = {"x": (-REACH, REACH, 0.05), "y": (-REACH, REACH, 0.05)}
PAIR_KNOBS: dict[str, Knob] = {"truth": ["00", "01", "10", "11"], "loss": list(TITLES), **POINT}
SLICE_KNOBS: dict[str, Knob] = {
    "pixels": (2, 200), "foreground": (1, 99), "ignored": (0, 90), "moving": list(PLANES),
    "loss": list(TITLES), **POINT,
}  # fmt: skip
BINS_KNOBS: dict[str, Knob] = {
    "bins": (1, 64), "pixels": (2, 200), "foreground": (1, 99), "loss": LOVASZ_TITLES,
}  # fmt: skip


class PointExplorer(Explorer):
    """An explorer of one surface with a point on it; a move of the point redraws the point alone.

    Args:
        knobs: PAIR_KNOBS or SLICE_KNOBS.
        frames: settings with a button each; the first are those at the start.
        alt: what is shown, in words.
    """

    def __init__(self, knobs: Mapping[str, Knob], frames: Sequence[Mapping[str, Any]], alt: str):
        self._surface: dict[str, Any] = {}  # settings that are drawn and kept
        super().__init__(draw_slice, frames, knobs, alt, point=("x", "y"))

    def _redraw(self) -> None:
        settings = self.settings()
        point = (settings.pop("x"), settings.pop("y"))
        if settings != self._surface:
            self._surface = settings
            self._piece, self._loss = _piece_of(**settings), TITLES[settings["loss"]]
            figure, self._panels = prepare_slice(self._piece, self._loss)
            figure.set_dpi(PAGE_DPI)
            self._canvas = FigureCanvasAgg(figure)
            self._canvas.draw()
            self._rest = self._canvas.copy_from_bbox(figure.bbox)
        self._canvas.restore_region(self._rest)
        for artist in draw_point(self._panels, self._piece, self._loss, point):
            artist.axes.draw_artist(artist)
            if artist is not artist.axes.title:
                artist.remove()
        buffer = io.BytesIO()
        picture = Image.frombuffer(
            "RGBA", self._canvas.get_width_height(), self._canvas.buffer_rgba()
        )
        picture.convert("RGB").save(buffer, format="png", compress_level=1)
        self.paint(self._canvas.figure, buffer.getvalue())


def draw_slice(loss: str, x: float, y: float, **settings: Any) -> Figure:
    """Draw `plot_slice` with the settings of the knobs."""
    return plot_slice(_piece_of(loss=loss, **settings), TITLES[loss], (x, y))


def draw_bins(bins: int, pixels: int, foreground: int, loss: str) -> Figure:
    """Draw `plot_bin_pair` with the settings of the knobs."""
    piece = make_slice(pixels, foreground / 100, "two groups")
    return plot_bin_pair(piece, TITLES[loss], bins)


def explore_pair(frames: Sequence[Mapping[str, Any]], alt: str) -> None:
    """Show any loss of two pixels with a point to move.

    Args:
        frames: values for truth, loss, x and y; the sliders start at the first.
        alt: what the frames show, in words.
    """
    _explore_point(PAIR_KNOBS, frames, alt)


def explore_slice(frames: Sequence[Mapping[str, Any]], alt: str) -> None:
    """Show any loss of many pixels on a plane through their scores, with a point to move.

    Args:
        frames: values for pixels, foreground and ignored (percent), moving, loss, x and y.
        alt: what the frames show, in words.
    """
    _explore_point(SLICE_KNOBS, frames, alt)


def explore_bins(frames: Sequence[Mapping[str, Any]], alt: str) -> None:
    """Show a Lovász loss exactly, with K bins, and the difference.

    Args:
        frames: values for bins, pixels, foreground (percent) and loss.
        alt: what the frames show, in words.
    """
    explore(draw_bins, frames, alt, point=None, yours=None, **BINS_KNOBS)


def _explore_point(
    knobs: Mapping[str, Knob], frames: Sequence[Mapping[str, Any]], alt: str
) -> None:
    if is_static():
        explore(draw_slice, frames, alt, point=("x", "y"), yours=None, **knobs)
        return
    require_words(alt)
    check_frames(frames, knobs)
    show_explorer(PointExplorer(knobs, frames, alt), contact_sheet(draw_slice, frames), frames)


def _piece_of(loss: str, **settings: Any) -> Slice:
    if "truth" in settings:
        return make_pair([int(label) for label in settings["truth"]])
    return make_slice(
        settings["pixels"],
        settings["foreground"] / 100,
        settings["moving"],
        ignored_fraction=settings["ignored"] / 100,
    )
