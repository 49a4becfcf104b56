"""Explorers: sliders in JupyterLab; elsewhere some chosen settings (frames) side by side.

A widget is invisible on GitHub, on paper and in tests, so a stored notebook has pictures of the
settings that its text discusses. A live one has sliders, a button for each of these settings, and
below them the picture, which is hidden while the sliders work, so that a saved chapter keeps it.
"""

import asyncio
import base64
import html
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib
from IPython.display import publish_display_data
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from pfpn.course.show import (
    MAX_WIDTH,
    PAGE_DPI,
    SHARPNESS,
    bundle,
    is_static,
    picture_html,
    publish,
    require_words,
    to_image,
)

Knob = bool | tuple[float, ...] | Sequence[Any]
CAPTION_SIZE = 15  # pixels of the page
GAP = 14  # pixels of the page between two frames
QUICK = 0.1  # seconds of processor time; a slider that answers later feels slow
REST = 0.4  # seconds without a move, after which a slow figure is laid out anew

# ipywidgets has no event for a click into a picture. The picture itself writes where it was hit
# into a text field beside it, which nobody sees, as fractions of its width and height.
_REPORT_CLICK = (
    "const field = this.closest('.pfpn-explorer').querySelector('.pfpn-click input'); "
    "const box = this.getBoundingClientRect(); "
    "field.value = (event.clientX - box.left) / box.width + ' ' + "
    "(event.clientY - box.top) / box.height; "
    "field.dispatchEvent(new Event('change', {bubbles: true}))"
)


class Explorer:
    """Sliders for the arguments of a drawing function; each move redraws the picture.

    Attributes:
        controls: one ipywidget a knob, by the knob's name.
        buttons: one a frame; a press sets all knobs to it.
        figure: as it was drawn last.
        png: the picture of it that is shown.
        message: what went wrong with the reader's own function, else empty.
        widget: all of these, to be displayed.
    """

    figure: Figure
    png: bytes

    def __init__(
        self,
        draw: Callable[..., Figure],
        frames: Sequence[Mapping[str, Any]],
        knobs: Mapping[str, Knob],
        alt: str,
        point: tuple[str, str] | None = None,
        yours: Callable[..., Any] | None = None,
    ):
        self.draw, self.alt, self.knobs, self.point, self.yours = draw, alt, knobs, point, yours
        start = frames[0]
        self.controls = {name: _control(name, knob, start[name]) for name, knob in knobs.items()}
        if yours is not None:
            self.controls["yours"] = _control("your function", True, True)
        self.buttons = [_frame_button(number, frame) for number, frame in enumerate(frames, 1)]
        for button, frame in zip(self.buttons, frames, strict=True):
            button.on_click(lambda _, frame=frame: self.set(frame))
        self._click = ipywidgets.Text(layout={"display": "none"})
        self._click.add_class("pfpn-click")
        self._click.observe(lambda change: self._clicked(change["new"]), names="value")
        self.picture = ipywidgets.HTML()
        self.message = ipywidgets.HTML()
        for control in self.controls.values():
            control.observe(self._moved, names="value")
        self._is_held = False
        self._seconds = 0.0  # that the last whole drawing took
        self._later: asyncio.TimerHandle | None = None
        self._redraw()
        rows = [
            ipywidgets.Box(self.buttons, layout=_WRAP),
            ipywidgets.Box([*self.controls.values()], layout=_WRAP),
            self.message,
            self.picture,
            ipywidgets.HTML(f"<small>{html.escape(alt)}</small>"),
            self._click,
        ]
        self.widget = ipywidgets.VBox(rows, layout=_LEFT)
        self.widget.add_class("pfpn-explorer")

    def settings(self) -> dict[str, Any]:
        """Return the value of each knob."""
        return {name: self.controls[name].value for name in self.knobs}

    def set(self, settings: Mapping[str, Any]) -> None:
        """Move several knobs and redraw once."""
        with self._held():
            for name, value in settings.items():
                self.controls[name].value = value
        self._redraw()

    def paint(self, figure: Figure, png: bytes) -> None:
        """Show a picture of the figure."""
        self.figure, self.png = figure, png
        width, height = (round(PAGE_DPI * inches) for inches in figure.get_size_inches())
        picture = picture_html(
            base64.b64encode(png).decode("ascii"),
            f"{self.alt} Now: {caption(self.settings())}.",
            width,
            height,
        )
        if self.point is not None:
            click = f'style="cursor: crosshair; max-width: 100%" onclick="{_REPORT_CLICK}"'
            picture = picture.replace("<img ", f"<img {click} ", 1)
        self.picture.value = picture

    @contextmanager
    def _held(self) -> Iterator[None]:
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def _moved(self, _change: Any) -> None:
        if not self._is_held:
            self._redraw()

    def _redraw(self) -> None:
        """Draw anew; a figure that is slow keeps its layout until the sliders rest.

        Most of the time goes into fitting axes and labels, which hardly move from step to step.
        """
        figure = self._draw()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # not in a notebook: nothing could be drawn later
            loop = None
        if loop is None or self._seconds <= QUICK or not _keep_layout(self.figure, figure):
            self._draw_whole(figure)
            return
        if self._later is not None:
            self._later.cancel()
        self._later = loop.call_later(REST, lambda: self._draw_whole(self._draw()))
        self.paint(figure, quick_png(figure))

    def _draw_whole(self, figure: Figure) -> None:
        begin = time.process_time()
        png = quick_png(figure)
        self._seconds = time.process_time() - begin
        self.paint(figure, png)

    def _draw(self) -> Figure:
        """Call the drawing function, with the reader's own where it is switched on and works."""
        return self.with_yours(lambda **own: self.draw(**self.settings(), **own))

    def with_yours(self, call: Callable[..., Any]) -> Any:
        """Return `call(yours=...)` with the reader's function where it is switched on and works.

        Otherwise return `call()`, and say in the message why.
        """
        self.message.value = ""
        if self.yours is not None and self.controls["yours"].value:
            try:
                return call(yours=self.yours)
            except NotImplementedError:
                words = "is not written yet. The package's is shown."
            except Exception as error:
                kind = type(error).__name__
                words = f"raised {kind}: {error}. The package's is shown."
            name = getattr(self.yours, "__name__", "Your function")
            self.message.value = f'<p role="alert">{html.escape(f"{name} {words}")}</p>'
        return call()

    def _clicked(self, report: str) -> None:
        """Move the point to where the picture was clicked; outside of all axes nothing moves."""
        if self.point is None or not report:
            return
        right, down = (float(number) for number in report.split())
        for axes in self.figure.axes:
            if axes.name != "3d" and axes.get_position().contains(right, 1 - down):
                pixel = self.figure.transFigure.transform((right, 1 - down))
                values = axes.transData.inverted().transform(pixel)
                self.set(
                    {
                        name: _nearest(self.controls[name], float(value))
                        for name, value in zip(self.point, values, strict=True)
                    }
                )
                return


_LEFT = {"align_items": "flex-start"}  # else the picture is stretched to the page's width
_WRAP = {"display": "flex", "flex_flow": "row wrap"}


def explore(
    draw: Callable[..., Figure],
    frames: Sequence[Mapping[str, Any]],
    alt: str,
    *,
    point: tuple[str, str] | None = None,
    yours: Callable[..., Any] | None = None,
    **knobs: Knob,
) -> None:
    """Show a drawing function: with sliders in a live notebook, else at the given frames.

    Args:
        draw: takes the knobs by name, returns a figure; in under 100 ms, or sliders feel slow.
        frames: settings that the text discusses, each with a value for every knob; the sliders
            start at the first, and each has a button.
        alt: describes the frames.
        point: the two knobs, across and up (or down) in the figure's coordinates, that a click
            into the picture sets.
        yours: the reader's own function. A live explorer has a box to switch it on, and then
            passes it to `draw` as `yours`; if it raises, the explorer says so and draws without.
        knobs: a range (low, high) or (low, high, step), a list of choices, or True or False.

    Raises:
        ValueError: no frame, a frame that lacks a knob or names another, a value that the knob
            does not have, a point of knobs that are no ranges, `yours` is no function, or a
            description that is too short.
    """
    require_words(alt)
    check_frames(frames, knobs)
    for name in point or ():
        if not isinstance(knobs.get(name), tuple):
            raise ValueError(f"explore: point names {name!r}, expected two knobs that are ranges")
    require_function(yours)
    if is_static():
        publish(contact_sheet(draw, frames), describe_frames(alt, frames))
    else:
        show_explorer(
            Explorer(draw, frames, knobs, alt, point, yours), contact_sheet(draw, frames), frames
        )


def require_function(yours: Any) -> None:
    """Raise ValueError if the reader's own function is something else."""
    if yours is not None and not callable(yours):
        raise ValueError(
            f"explore: yours is {type(yours).__name__} ({yours!r:.60}), expected your function. "
            "Pass it by its name, without brackets"
        )


def show_explorer(
    explorer: Explorer, sheet: Image.Image, frames: Sequence[Mapping[str, Any]]
) -> None:
    """Display an explorer, and below it the picture of its frames, hidden while the explorer works.

    A chapter that is saved and opened again without a kernel has no sliders: the picture is there.
    """
    view = explorer.widget._repr_mimebundle_()["application/vnd.jupyter.widget-view+json"]
    publish_display_data(
        {"application/vnd.jupyter.widget-view+json": view, "text/plain": _NO_SLIDERS}
    )
    data, metadata = bundle(sheet, describe_frames(explorer.alt, frames))
    data["text/html"] = f'<div class="pfpn-stored">{data["text/html"]}</div>{_HIDE_STORED}'
    publish_display_data(data, metadata=metadata)


_NO_SLIDERS = "The sliders work in a running notebook. Below are the settings that the text names."
_HIDE_STORED = (
    "<style>.jp-OutputArea:has(.pfpn-explorer) .jp-OutputArea-child:has(.pfpn-stored) "
    "{display: none}</style>"
)


def describe_frames(alt: str, frames: Sequence[Mapping[str, Any]]) -> str:
    """Return the description of a sheet of frames."""
    return f"{alt} Frames: {'; '.join(map(caption, frames))}."


def quick_png(figure: Figure) -> bytes:
    """Return a figure as PNG at the page's size, in half the time that `savefig` takes."""
    figure.set_dpi(PAGE_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba())
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


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


def check_frames(frames: Sequence[Mapping[str, Any]], knobs: Mapping[str, Knob]) -> None:
    """Raise ValueError if there is no frame, or one that does not fit the knobs."""
    if not frames:
        raise ValueError("explore: no frames, expected the settings the text talks about")
    for number, frame in enumerate(frames, 1):
        _check_frame(number, frame, knobs)


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


def _keep_layout(last: Figure, figure: Figure) -> bool:
    """Lay a figure out as the last one; return whether they have the same axes."""
    sizes = [tuple(each.get_size_inches()) for each in (last, figure)]
    if len(last.axes) != len(figure.axes) or sizes[0] != sizes[1]:
        return False
    figure.set_layout_engine("none")
    for old, new in zip(last.axes, figure.axes, strict=True):
        new.set_position(old.get_position(original=True))
    return True


def _frame_button(number: int, frame: Mapping[str, Any]) -> ipywidgets.Button:
    return ipywidgets.Button(
        description=f"{number}   {caption(frame)}", layout={"width": "max-content"}
    )


def _nearest(control: Any, value: float) -> float:
    """Return the value that a slider can have and that is nearest."""
    steps = round((min(max(value, control.min), control.max) - control.min) / control.step)
    nearest = min(control.min + steps * control.step, control.max)
    return round(nearest) if isinstance(control, ipywidgets.IntSlider) else nearest
