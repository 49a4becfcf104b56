"""A class of sixty: right, wrong and hostile notebooks of chapter 03, made from its solutions."""

import json
import re
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from pfpn.fold import student_notebook
from pfpn.shipped import shipped

NAME = "03_proposals.ipynb"
# Exercise: a part of its solution, and what a student writes there by mistake.
WRONG = {
    "03.iou": ("areas - shared)", "areas)"),
    "03.anchor": ("side / math.sqrt(ratio) / 2", "side / ratio / 2"),
    "03.anchor_labels": ("labels[attains.any(dim=1)] = 1", "pass"),
    "03.decode": (".clamp(max=MAX_LOG_SCALE)", ""),
    "03.nms": ("<= threshold", "< threshold"),
}
# What a hostile answer to 03.iou does first.
HOSTILE = {
    "endless": "while True: pass",
    "stubborn": "while True:\n        try:\n            while True: pass\n        except: pass",
    "asleep": "import time; time.sleep(10**6)",
    "memory": "return [bytes(1 << 28) for _ in range(1 << 20)]",
    "file": "open('large', 'wb').write(bytes(1 << 20) * 2048)",
    "sparse": "open('large', 'wb').truncate(2 << 30)",
    "crash": "import os; os._exit(3)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "reference": "from pfpn.course import find; return find('03.iou').reference(a, b)",
    "hidden": "import pfpn.course as c; return getattr(c.find('03.iou'), 'refer' + 'ence')(a, b)",
    "patched": (
        "import sys; c = sys.modules['pfpn.course.check']\n"
        "    c.differ = lambda *_: ''; c.judge = lambda *_: None; c.run = lambda *_: None; return 7"
    ),
    "dumps": "import json; json.dumps = lambda *_, **__: '[1]'",
    "equal": (
        "class E(float):\n        def __eq__(self, other): return True\n"
        "        def __abs__(self): raise KeyError\n    return E(7)"
    ),
    "iterator": (
        "class L(list):\n        def __iter__(self):\n            while True: yield 1\n"
        "    return L([1])"
    ),
    "daemon": (
        "import os, time\n    if not os.path.exists('left'):\n"
        "        open('left', 'w')\n        if os.fork() == 0:\n            os.setsid()\n"
        "            while True: time.sleep(1)\n    return 7"
    ),
    "loud": "import os; os.write(1, b'x' * (1 << 22)); return 7",  # a GB in all cases together
    "forged": "open('03.iou.outputs.json', 'w').write('[]'); import os; os._exit(0)",
}
IMPORTS = "import math\nfrom pfpn.boxes import MAX_LOG_SCALE\n\n\n"
BROKEN = {"cut": '{"cells": [', "empty": "", "deep": "[" * 100_000}  # files that are no notebooks


@cache
def solutions() -> dict[str, str]:
    """The cell that solves each exercise, by its name."""
    path = shipped("notebooks") / "solutions" / NAME
    found = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        for name in re.findall(r'assert check\("([^"]+)"', source):
            found[name] = IMPORTS + source.replace("assert check", "_ = check")
    return found


@cache
def handed_out() -> str:
    path = shipped("notebooks") / NAME
    return json.dumps(student_notebook(json.loads(path.read_text(encoding="utf-8"))))


def notebook(answers: dict[str, str]) -> str:
    """The chapter as a student hands it in; exercises that are not answered stay stubs."""
    chapter: dict[str, Any] = json.loads(handed_out())
    for cell in chapter["cells"]:
        source = "".join(cell["source"])
        for name, answer in answers.items():
            if f'check("{name}"' in source and cell["cell_type"] == "code":
                cell["source"] = answer
    return json.dumps(chapter)


def wrong(name: str) -> str:
    part, mistake = WRONG[name]
    assert part in solutions()[name]
    return solutions()[name].replace(part, mistake)


def hostile(kind: str) -> str:
    return solutions()["03.iou"].replace(
        "def my_iou(a, b):\n", f"def my_iou(a, b):\n    {HOSTILE[kind]}\n"
    )


def write_class(folder: Path, num: int = 60) -> dict[str, str]:
    """Write a folder for each student; return the kind of each, "right" or another."""
    kinds = [*(f"wrong {n}" for n in WRONG), *HOSTILE, *BROKEN]
    kinds += ["right"] * max(0, num // 2)
    kinds = list(islice(cycle(kinds), num))
    for number, kind in enumerate(kinds):
        answers = dict(solutions())
        if kind.startswith("wrong"):
            name = kind.split()[1]
            answers[name] = wrong(name)
        elif kind in HOSTILE:
            answers["03.iou"] = hostile(kind)
        path = folder / f"student{number:02}" / NAME
        path.parent.mkdir(parents=True)
        path.write_text(BROKEN.get(kind) if kind in BROKEN else notebook(answers), "utf-8")
    return {f"student{number:02}": kind for number, kind in enumerate(kinds)}
