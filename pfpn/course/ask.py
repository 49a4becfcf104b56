"""Predictions: the reader predicts a result, runs the cell, and sees both side by side.

A result is remembered better when a prediction was made first, even if that one was wrong.
"""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets
from IPython.display import display, publish_display_data

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

    def reveal(self, truth: Answer, because: str = "", tolerance: float = 0.0) -> None:
        """Show the prediction beside the result and its reason; the prediction is final then.

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
        if self.truth is None:  # a second call changes nothing
            self._close(truth, tolerance)
        guess = "no prediction" if self.answer is None else self._with_unit(self.answer)
        mark = {True: " Right.", False: " Not this time.", None: ""}[self.right]
        _write(
            f"**You said:** {guess}. **It is:** {self._with_unit(truth)}.{mark} {because}".strip()
        )

    def _close(self, truth: Answer, tolerance: float) -> None:
        if self.control is not None:
            self.answer = _typed(self.control.value, bool(self.options))
            self.control.disabled = True
        self.truth = truth
        if self.answer is not None:
            if isinstance(truth, str):
                self.right = self.answer == truth
            else:
                self.right = abs(float(self.answer) - truth) <= tolerance

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
    if options:
        guess.control = ipywidgets.RadioButtons(
            options=list(options), value=None, layout={"width": "max-content"}
        )
    else:
        guess.control = ipywidgets.Text(placeholder=f"your number {unit}".strip())
    title = ipywidgets.HTML(f"<b>Your prediction?</b> {html.escape(question)}")
    display(ipywidgets.VBox([title, guess.control]))
    return guess


def tally(*guesses: Guess) -> None:
    """Show how many of a chapter's predictions were made, and how many were right."""
    made = [guess for guess in guesses if guess.right is not None]
    if not made:
        _write(
            f"None of the {len(guesses)} predictions of this chapter were made. Go back to the "
            "questions, choose, and run their cells again: it is the guess that teaches."
        )
        return
    right = sum(bool(guess.right) for guess in made)
    _write(f"**Your predictions:** {right} of {len(made)} right, {len(guesses)} were asked.")


def _typed(value: str | None, is_choice: bool) -> Answer | None:
    """Return the value of a widget; None if it is empty or no number where one is expected."""
    if not value or is_choice:
        return value or None
    try:
        return float(value.replace(",", "."))
    except ValueError:
        return None


def _write(markdown: str) -> None:
    publish_display_data({"text/markdown": markdown, "text/plain": markdown.replace("**", "")})
