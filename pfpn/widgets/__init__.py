"""What the notebooks speak with: figures with words, explorers in two modes, predictions.

With `PFPN_STATIC=1` in the environment, as when notebooks are executed to be stored, an explorer
draws the frames that its text talks about, and a question is printed. A live reader gets sliders.
"""

from pfpn.widgets.ask import Guess, ask, tally
from pfpn.widgets.explore import Explorer, explore
from pfpn.widgets.show import is_static, show

__all__ = ["Explorer", "Guess", "ask", "explore", "is_static", "show", "tally"]
