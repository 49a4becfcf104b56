"""Shapes of LabelMe's files that nobody would draw."""

import json

import pytest
from PIL import Image

from pfpn.cli import main

SHAPE = {"label": "a", "points": [[1, 1], [9, 1], [9, 8]], "shape_type": "polygon"}
ODD = [
    None, "x", 3, float("nan"), [1],
    *({"points": [[value, 1], [9, 1], [9, 8]]} for value in (None, {}, [1], "x", 1e9, 10**400)),
    {"group_id": {"a": 1}}, {"group_id": [1]}, {"label": None}, {"label": ["a"]},
    {"shape_type": []}, {"shape_type": "mask", "mask": 3}, {"shape_type": "mask", "mask": "x"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: json.dumps(odd)[:40])
def test_an_odd_shape_is_left_out_and_told(odd, tmp_path, capsys):
    Image.new("RGB", (12, 10)).save(tmp_path / "p.png")
    shape = SHAPE | odd if isinstance(odd, dict) else odd
    content = {"shapes": [shape, SHAPE], "imagePath": "p.png", "imageHeight": 10, "imageWidth": 12}
    (tmp_path / "p.json").write_text(json.dumps(content))
    assert main(["import", "labelme", str(tmp_path), "--out", str(tmp_path / "out")]) in (0, 1)
    out, err = capsys.readouterr()
    assert "p: " in out  # what became of the picture's shapes
    assert len(err.splitlines()) <= 1
