"""Predictions: the reader predicts a result, runs the cell, and sees both side by side.

A result is remembered better when a prediction was made first, even if that one was wrong. So a
live notebook keeps the result back until there is a prediction, or until the reader asks for it.
A stored notebook shows it: GitHub's readers have nothing to click on.
"""

import html
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from IPython.display import display, publish_display_data

from pfpn.course import hold
from pfpn.course.show import is_static

Answer = str | float


class Guess:
    """A question, the reader's prediction if there is one, and the result once it is revealed."""

    def __init__(self, question: str, options: Sequence[str] = (), unit: str = ""):
        self.question = question
        self.options = list(options)
        self.unit = unit
        self.answer: Answer | None = None
        self.truth: Answer | None = None
        self.right: bool | None = None  # None: no prediction before the result was shown
        self.control: Any = None  # the live widget
        self._afterwards: list[Callable[[], None]] = []  # called once there is a prediction
        self._waiting: list[str] = []  # display ids of the outputs that the result goes to

    @property
    def waits(self) -> bool:
        """Whether the result has to wait, because the reader has not predicted yet."""
        return self.truth is None and self.control is not None and self._chosen() is None

    @property
    def is_due(self) -> bool:
        """Whether a cell has come to the result."""
        return bool(self._waiting)

    def then(self, call: Callable[[], None]) -> None:
        """Call a function as soon as there is a prediction, or as the reader goes without one."""
        if not self._afterwards:
            self.control.observe(self._predicted, names="value")
        self._afterwards.append(call)

    def _predicted(self, _change: Any = None) -> None:
        if self.waits:
            return
        calls, self._afterwards = self._afterwards, []
        if calls:
            self.control.disabled = True  # the reader sees now what was to be predicted
        for call in calls:
            call()

    def reveal(self, truth: Answer, because: str = "", tolerance: float = 0.0) -> None:
        """Show the prediction beside the result and its reason; the prediction is final then.

        In a live notebook without a prediction the output waits for one: as soon as the reader has
        chosen, or has pressed a button to go without, the result appears in it.

        Args:
            truth: one of the options, or the number.
            because: the reason, one sentence.
            tolerance: how far off a number may be and still be right.

        Raises:
            ValueError: the truth is none of the options.
        """
        if self.options and truth not in self.options:
            raise ValueError(
                f"reveal: the result {truth!r} is none of the options {self.options} of the "
                f"question {self.question!r}"
            )
        if self.waits:
            self._wait(truth, because, tolerance)
            return
        self._close(truth, tolerance)
        _write(self._sentence(because))

    def _chosen(self) -> Answer | None:
        """Return what the live widget says."""
        return _typed(self.control.value, bool(self.options))

    def _close(self, truth: Answer, tolerance: float) -> None:
        if self.truth is not None:  # a second call changes nothing
            return
        if self.control is not None:
            self.answer = self._chosen()
        self.truth = truth
        if self.answer is not None:
            if isinstance(truth, str):
                self.right = self.answer == truth
            else:
                self.right = abs(float(self.answer) - truth) <= tolerance
        if self.control is not None:
            self.control.disabled = True

    def _wait(self, truth: Answer, because: str, tolerance: float) -> None:
        """Show that a prediction is missing; put the result there once it is made."""
        spot, below = uuid.uuid4().hex, uuid.uuid4().hex
        hold.AT_ONCE.update((spot, below))
        self._waiting.append(spot)  # a second run of the cell: the first output is gone
        how = "Choose" if self.options else "Type a number and press Enter"
        _write(
            f"**No prediction yet.** {how} at the question above: the result appears here.", spot
        )
        without = ipywidgets.Button(
            description="Show it without a prediction", layout={"width": "max-content"}
        )

        def finish(_event: Any, gave_up: bool = False) -> None:
            if self.truth is None and (gave_up or self._chosen() is not None):
                self._close(truth, tolerance)
                for spot in self._waiting:
                    _write(self._sentence(because), spot, update=True)
                self._predicted()
            if self.truth is not None:
                without.layout.display = "none"

        self.control.observe(finish, names="value")
        self.control.observe(finish, names="disabled")  # the other output's button was pressed
        without.on_click(lambda event: finish(event, gave_up=True))
        display(without, display_id=below)

    def _sentence(self, because: str) -> str:
        assert self.truth is not None
        guess = "no prediction" if self.answer is None else self._with_unit(self.answer)
        mark = {True: " Right.", False: " Not this time.", None: ""}[self.right]
        result = self._with_unit(self.truth)
        return f"**You said:** {guess}. **It is:** {result}.{mark} {because}".strip()

    def _with_unit(self, answer: Answer) -> str:
        text = answer if isinstance(answer, str) else f"{answer:g}"
        return f"{text} {self.unit}".strip()


def ask(
    question: str, options: Sequence[str] = (), unit: str = "", answer: Answer | None = None
) -> Guess:
    """Show a question and return it as a Guess, whose `.reveal(truth)` shows the result later.

    Args:
        question: about the result of a later cell.
        options: to choose from; without them the prediction is a number.
        unit: of the number.
        answer: the prediction, for those who would rather type than click.

    Raises:
        ValueError: `answer` is none of the options.
    """
    guess = Guess(question, options, unit)
    if answer is not None and options and answer not in options:
        raise ValueError(f"ask: the answer {answer!r} is none of the options {list(options)}")
    guess.answer = answer
    if is_static() or answer is not None:
        choices = "".join(f"\n- {option}" for option in options)
        in_units = f" (a number of {unit})" if unit else ""
        _write(f"**Your prediction?** {question}{'' if options else in_units}\n{choices}".rstrip())
        return guess
    hold.watch(guess)
    if options:
        guess.control = ipywidgets.RadioButtons(
            options=list(options), value=None, layout={"width": "max-content"}
        )
    else:
        guess.control = ipywidgets.Text(
            placeholder=f"your number {unit}".strip(), continuous_update=False
        )
    title = ipywidgets.HTML(f"<b>Your prediction?</b> {html.escape(question)}")
    display(ipywidgets.VBox([title, guess.control]))
    return guess


def tally(*guesses: Guess) -> None:
    """Show how many of a chapter's predictions were made, and how many were right."""
    made = [guess for guess in guesses if guess.right is not None]
    if not made:
        _write(
            f"You have made none of this chapter's {len(guesses)} predictions. Go back to the "
            "questions, answer them, and run the cells below them again. A result that you have "
            "predicted, rightly or wrongly, is easier to remember."
        )
        return
    right = sum(bool(guess.right) for guess in made)
    _write(f"**Your predictions:** {len(made)} of {len(guesses)} made, {right} of them right.")


def _typed(value: str | None, is_choice: bool) -> Answer | None:
    """Return the value of a widget; None if it is empty or no number where one is expected."""
    if not value or is_choice:
        return value or None
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return None


def _write(markdown: str, spot: str = "", update: bool = False) -> None:
    """Show text; `spot` names the output, so that a later call with `update` can replace it."""
    publish_display_data(
        {"text/markdown": markdown, "text/plain": markdown.replace("**", "")},
        transient={"display_id": spot} if spot else {},
        update=update,
    )
