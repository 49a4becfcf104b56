"""A cell that gives the result of a question shows nothing before there is a prediction."""

import sys

import pytest
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from pfpn.course import hold

ASK = """
from IPython.display import HTML, display
from pfpn.course import ask
guess = ask("How much?", ["much", "little"])
other = ask("How many?")
"""
ONE = ASK.replace('other = ask("How many?")', "")
REVEAL = """
print("the numbers"); print("tell it")
display(HTML("<b>so does the picture</b>"))
guess.reveal("much", "It is so.")
print("and what comes after")
"""


class Page(DisplayPublisher):
    """Outputs as a notebook keeps them: in order, changed by their display id."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.outputs: list[dict] = []

    def publish(self, data, metadata=None, *, transient=None, update=False, **_):
        spot = (transient or {}).get("display_id")
        if update:
            for output in self.outputs:
                if output["spot"] == spot:
                    output["data"] = data
            return
        self.outputs.append({"data": data, "spot": spot})

    def texts(self) -> list[str]:
        return [output["data"].get("text/plain", "") for output in self.outputs]


@pytest.fixture
def shell(monkeypatch):
    """A live notebook."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    monkeypatch.delenv("PFPN_STATIC", raising=False)
    monkeypatch.setattr(InteractiveShell, "kernel", object(), raising=False)
    shell.page = shell.display_pub = Page(parent=shell, shell=shell)
    hold._curtains.clear()
    yield shell
    hold._curtains.clear()
    InteractiveShell.clear_instance()


def run(shell, source) -> list[str]:
    """Run a cell; return the texts of its outputs, without those of the question."""
    shell.page.outputs.clear()
    result = shell.run_cell(source)
    assert result.success or "1 / 0" in source
    return shell.page.texts()


def test_all_that_the_cell_shows_waits_for_the_prediction(shell, capsys):
    run(shell, ONE)
    before = run(shell, REVEAL)
    assert [text for text in before if text and "Button" not in text] == [
        "No prediction yet. Choose at the question above: the result appears here."
    ]
    assert capsys.readouterr().out == ""
    shell.user_ns["guess"].control.value = "little"
    texts = [text for text in shell.page.texts() if "Button" not in text]
    assert texts == [
        "the numbers\ntell it\n",
        "<IPython.core.display.HTML object>",
        "You said: little. It is: much. Not this time. It is so.",
        "and what comes after\n",
    ]
    assert "<b>so does the picture</b>" in shell.page.outputs[1]["data"]["text/html"]


def test_the_button_shows_it_without_a_prediction(shell, monkeypatch):
    buttons, module = [], sys.modules["pfpn.course.ask"]
    display = module.display
    monkeypatch.setattr(
        module, "display", lambda shown, **which: (buttons.append(shown), display(shown, **which))
    )
    run(shell, ONE)
    run(shell, REVEAL)
    assert shell.page.texts()[0] == ""
    buttons[-1].click()
    assert shell.page.texts()[0] == "the numbers\ntell it\n"


def test_with_a_prediction_nothing_is_held_back(shell, capsys):
    run(shell, ONE)
    shell.user_ns["guess"].control.value = "much"
    texts = run(shell, REVEAL)
    assert texts[-1] == "You said: much. It is: much. Right. It is so."
    assert capsys.readouterr().out == "the numbers\ntell it\nand what comes after\n"


def test_two_questions_of_a_cell_are_waited_for(shell):
    run(shell, ASK)
    run(shell, "print('both')\nguess.reveal('much')\nother.reveal(3)")
    shell.user_ns["guess"].control.value = "much"
    assert shell.page.texts()[0] == ""
    shell.user_ns["other"].control.value = "4"
    assert shell.page.texts()[0] == "both\n"


def test_cells_between_a_question_and_its_result_wait_too(shell, capsys):
    run(shell, 'from pfpn.course import ask\nguess = ask("How much?", ["much", "little"])')
    notice = "No prediction yet. What this cell shows appears after your prediction above."
    assert run(shell, "number = 3\nprint('it is', number)") == [notice, ""]
    assert shell.user_ns["number"] == 3
    assert run(shell, "number = 4") == []  # a cell that shows nothing needs no words
    run(shell, "print('it is', number)")
    assert capsys.readouterr().out == ""
    shell.user_ns["guess"].control.value = "much"
    assert shell.page.texts() == ["", "it is 4\n"]
    assert shell.user_ns["guess"].control.disabled
    assert run(shell, "guess.reveal('much')")[-1].startswith("You said: much. It is: much. Right.")


def test_questions_and_exercises_are_never_held_back(shell, capsys):
    run(shell, ASK)
    assert hold.speaks("_ = check('00.id_to_color', mine)")
    assert not hold.speaks("print(1)")
    run(shell, "def check(*_):\n    print('not answered yet')")
    run(shell, "check('an exercise', None)")
    assert capsys.readouterr().out == "not answered yet\n"


def test_after_the_result_cells_are_shown_though_nobody_predicted(shell, capsys):
    run(shell, ONE)
    run(shell, "guess.reveal('much')")
    run(shell, "print('the rest of the chapter')")
    assert capsys.readouterr().out == "the rest of the chapter\n"


def test_a_question_that_is_asked_anew_leaves_no_old_one_behind(shell, capsys):
    one = ONE
    run(shell, one)
    run(shell, one)
    shell.user_ns["guess"].control.value = "much"
    run(shell, "print('shown')")
    assert capsys.readouterr().out == "shown\n"


def test_a_cell_that_fails_before_its_result_shows_what_it_printed(shell):
    run(shell, ASK)
    (shown,) = run(shell, "print('so far')\n1 / 0\nguess.reveal('much')")
    assert shown.startswith("so far\n")
    assert "ZeroDivisionError" in shown


def test_only_cells_that_reveal_are_held_back(shell, capsys):
    run(shell, ASK)
    shell.user_ns["guess"].control.value = "much"
    shell.user_ns["other"].control.value = "4"
    assert list(hold.revealed("a.reveal(1)\nif x:\n    b.reveal(2)")) == ["a", "b"]
    assert list(hold.revealed("%timeit a.reveal(1)")) == []
    run(shell, "print(guess.reveal)")
    assert "reveal" in capsys.readouterr().out
