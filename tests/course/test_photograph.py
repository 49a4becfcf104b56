"""The reader's own photograph where there is one; else one that every installation has."""

import torch
from PIL import Image

from pfpn.course import photograph
from pfpn.data.toy import ToyStreet


def test_the_readers_own_photograph_is_taken(tmp_path, capsys):
    drawn = ToyStreet(1, seed=3, size=(64, 96))[0].image
    path = tmp_path / "my_photo.png"
    Image.fromarray(drawn.permute(1, 2, 0).numpy()).save(path)
    image, words = photograph(path)
    assert torch.equal(image, drawn)
    assert words == "your photograph"
    assert capsys.readouterr().out == ""


def test_without_one_there_is_a_photograph_all_the_same(tmp_path, capsys):
    image, words = photograph(tmp_path / "my_photo.jpg")
    assert image.dtype == torch.uint8
    assert image.shape[0] == 3
    assert min(image.shape[1:]) > 200
    assert "Grace Hopper" in words
    assert "No photograph at" in capsys.readouterr().out
