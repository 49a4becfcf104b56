"""How the course works: figures with words, explorers in two modes, predictions, exercises.

With `PFPN_STATIC=1` in the environment, as when notebooks are executed to be stored, an explorer
draws the frames that its text talks about, and a question is printed. A live reader gets sliders.
`check("04.level_of_box", mine)` runs an answer on small cases, the simplest first. At the first one
that fails it shows what went in, what was expected and what came out, and where it knows the
mistake, names it. It never shows a solution; those are the notebooks in notebooks/solutions/.
"""

from pfpn.course.ask import Guess, ask, tally
from pfpn.course.check import all_exercises, check, find, hint
from pfpn.course.explore import Explorer, explore
from pfpn.course.show import is_static, show

__all__ = [
    "Explorer",
    "Guess",
    "all_exercises",
    "ask",
    "check",
    "explore",
    "find",
    "hint",
    "is_static",
    "show",
    "tally",
]
