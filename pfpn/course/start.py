"""Where a chapter finds the files that it reads."""

import os
from pathlib import Path

from pfpn.shipped import shipped

BESIDE = Path("../data/checkpoints")  # as every chapter writes it


def start() -> None:
    """Go to the notebooks that came with the package if the chapter was opened alone.

    A chapter reads "../data/checkpoints" and the like. In a clone, and in a folder that
    `pfpn lab` wrote, they lie there. A notebook that was copied or fetched by itself, as on Colab,
    has nothing beside it.
    """
    if not BESIDE.is_dir():
        os.chdir(shipped("notebooks"))
