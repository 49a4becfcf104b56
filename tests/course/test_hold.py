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
    run(shell, ASK)
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
    run(shell, ASK)
    run(shell, REVEAL)
    assert shell.page.texts()[0] == ""
    buttons[-1].click()
    assert shell.page.texts()[0] == "the numbers\ntell it\n"


def test_with_a_prediction_nothing_is_held_back(shell, capsys):
    run(shell, ASK)
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


def test_a_cell_that_fails_before_its_result_shows_what_it_printed(shell, capsys):
    run(shell, ASK)
    (shown,) = run(shell, "print('so far')\n1 / 0\nguess.reveal('much')")
    assert shown.startswith("so far\n")
    assert "ZeroDivisionError" in shown
    assert run(shell, "print('other cells')") == []
    assert "other cells" in capsys.readouterr().out


def test_only_cells_that_reveal_are_held_back(shell, capsys):
    run(shell, ASK)
    assert list(hold.revealed("a.reveal(1)\nif x:\n    b.reveal(2)")) == ["a", "b"]
    assert list(hold.revealed("%timeit a.reveal(1)")) == []
    run(shell, "print(guess.reveal)")
    assert "reveal" in capsys.readouterr().out
