"""How the course works: figures with descriptions, explorers, predictions, exercises.

With `PFPN_STATIC=1` in the environment, as when notebooks are executed to be stored, an explorer
draws the frames that its text discusses, and a question is printed. A live notebook has sliders.
`check("04.level_of_box", mine)` runs an answer on small cases, the simplest first, then on several
hundred random ones. It shows the inputs, the expected and the returned value of the first one that
fails, and names the mistake if it is a typical one; `case("04.level_of_box", 3)` hands out a case.
It never shows a solution; those are the notebooks in notebooks/solutions/.
"""

from pfpn.course.ask import Guess, ask, tally
from pfpn.course.check import all_exercises, case, check, find, hint
from pfpn.course.explore import Explorer, explore
from pfpn.course.photograph import photograph
from pfpn.course.show import is_static, show
from pfpn.course.start import start
from pfpn.course.yours import yours

__all__ = [
    "Explorer",
    "Guess",
    "all_exercises",
    "ask",
    "case",
    "check",
    "explore",
    "find",
    "hint",
    "is_static",
    "photograph",
    "show",
    "start",
    "tally",
    "yours",
]
