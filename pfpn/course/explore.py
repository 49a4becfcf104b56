"""Explorers: sliders in JupyterLab; elsewhere some chosen settings (frames) side by side.

A widget is invisible on GitHub, on paper and in tests, so a stored notebook has pictures of the
settings that its text discusses.
"""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from pfpn.course.show import (
    MAX_WIDTH,
    PAGE_DPI,
    SHARPNESS,
    is_static,
    publish,
    require_words,
    to_image,
    to_png,
)

Knob = bool | tuple[float, ...] | Sequence[Any]
CAPTION_SIZE = 15  # pixels of the page
GAP = 14  # pixels of the page between two frames


class Explorer:
    """Sliders for the arguments of a drawing function; each move redraws the picture.

    Attributes:
        controls: one ipywidget a knob, by the knob's name.
        picture: the ipywidget that shows the figure.
        widget: both, to be displayed.
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        start: Mapping[str, Any],
        knobs: Mapping[str, Knob],
        alt: str,
    ):
        self.draw = draw
        self.controls = {name: _control(name, knob, start[name]) for name, knob in knobs.items()}
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        for control in self.controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()
        words = ipywidgets.HTML(f"<small>{html.escape(alt)}</small>")
        knobs_row = ipywidgets.Box([*self.controls.values()], layout=_WRAP)
        self.widget = ipywidgets.VBox([knobs_row, self.picture, words], layout=_LEFT)

    def settings(self) -> dict[str, Any]:
        """Return the value of each knob."""
        return {name: control.value for name, control in self.controls.items()}

    def _redraw(self, _change: Any = None) -> None:
        self.picture.value = to_png(to_image(self.draw(**self.settings()), PAGE_DPI), small=False)


_LEFT = {"align_items": "flex-start"}  # else the picture is stretched to the page's width
_WRAP = {"display": "flex", "flex_flow": "row wrap"}


def explore(
    draw: Callable[..., Figure], frames: Sequence[Mapping[str, Any]], alt: str, **knobs: Knob
) -> None:
    """Show a drawing function: with sliders in a live notebook, else at the given frames.

    Args:
        draw: takes the knobs by name, returns a figure; in under 100 ms, or sliders feel slow.
        frames: settings that the text discusses, each with a value for every knob; the sliders
            start at the first.
        alt: describes the frames.
        knobs: a range (low, high) or (low, high, step), a list of choices, or True or False.

    Raises:
        ValueError: no frame, a frame that lacks a knob or names another, a value that the knob
            does not have, or a description that is too short.
    """
    require_words(alt)
    if not frames:
        raise ValueError("explore: no frames, expected the settings the text talks about")
    for number, frame in enumerate(frames, 1):
        _check_frame(number, frame, knobs)
    if is_static():
        publish(contact_sheet(draw, frames), f"{alt} Frames: {'; '.join(map(caption, frames))}.")
    else:
        display(Explorer(draw, frames[0], knobs, alt).widget)


def contact_sheet(draw: Callable[..., Figure], frames: Sequence[Mapping[str, Any]]) -> Image.Image:
    """Return all frames in one picture, numbered and captioned, as many in a row as fit a page."""
    pictures = [to_image(draw(**frame), SHARPNESS * PAGE_DPI) for frame in frames]
    width = max(picture.width for picture in pictures)
    gap, text = round(GAP * SHARPNESS), round(CAPTION_SIZE * SHARPNESS)
    columns = int((MAX_WIDTH * PAGE_DPI * SHARPNESS + gap) // (width + gap))
    columns = min(max(columns, 1), len(pictures))
    font = ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans-Bold.ttf"), text - 4
    )
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) + text + gap for row in rows]
    sheet = Image.new("RGB", (columns * (width + gap) - gap, sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, frame) in enumerate(zip(pictures, frames, strict=True)):
        row, column = divmod(number, columns)
        x, y = column * (width + gap), sum(heights[:row])
        label = _fit(f"{number + 1}   {caption(frame)}", font, width)
        pen.text((x + gap // 2, y + 2), label, fill="black", font=font)
        sheet.paste(picture, (x, y + text + 4))
    return sheet


def caption(frame: Mapping[str, Any]) -> str:
    """Return settings as text, for instance "stride 4, top down on"."""
    words = {True: "on", False: "off"}
    return ", ".join(
        f"{name.replace('_', ' ')} " + (words[value] if isinstance(value, bool) else f"{value:g}")
        if isinstance(value, bool | int | float)
        else f"{name.replace('_', ' ')} {value}"
        for name, value in frame.items()
    )


def _fit(text: str, font: Any, width: int) -> str:
    while font.getlength(text) > width and len(text) > 4:
        text = text[:-2].rstrip(".") + "."
    return text


def _check_frame(number: int, frame: Mapping[str, Any], knobs: Mapping[str, Knob]) -> None:
    where = f"explore: frame {number}"
    if set(frame) != set(knobs):
        raise ValueError(f"{where} sets {sorted(frame)}, expected the knobs {sorted(knobs)}")
    for name, knob in knobs.items():
        value = frame[name]
        if isinstance(knob, bool):
            fits, expected = isinstance(value, bool), "True or False"
        elif isinstance(knob, tuple):
            fits, expected = knob[0] <= value <= knob[1], f"{knob[0]} to {knob[1]}"
        else:
            fits, expected = value in knob, f"one of {list(knob)}"
        if not fits:
            raise ValueError(f"{where}: {name} is {value!r}, expected {expected}")


def _control(name: str, knob: Knob, value: Any) -> Any:
    title = {
        "description": name.replace("_", " "),
        "style": {"description_width": "initial"},
    }
    if isinstance(knob, bool):
        return ipywidgets.Checkbox(value=value, indent=False, **title)
    if isinstance(knob, tuple):
        low, high = knob[:2]
        whole = all(isinstance(number, int) for number in (*knob, value))
        step = knob[2] if len(knob) == 3 else (1 if whole else (high - low) / 100)
        slider = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        return slider(value=value, min=low, max=high, step=step, **title)
    return ipywidgets.Dropdown(options=list(knob), value=value, **title)
