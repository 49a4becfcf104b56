"""What docs/weights.md shows runs, and its figures are those of the package."""

import re
from pathlib import Path

import pytest

from pfpn.zoo import MODELS

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", WEIGHTS, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_runs(number, monkeypatch):
    monkeypatch.chdir(ROOT)  # it names a shipped file relative to the repository
    exec(compile(SNIPPETS[number], f"docs/weights.md, snippet {number + 1}", "exec"), {})


def test_the_table_has_every_published_model_with_its_figures():
    rows = dict(re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", WEIGHTS, flags=re.MULTILINE))
    assert rows.keys() == MODELS.keys()
    for name, words in rows.items():
        figures = {key: float(value) for key, value in re.findall(r"(\w[\w ]*?) ([\d.]+)", words)}
        assert figures.items() <= MODELS[name].figures.items()
        assert figures
