"""A chapter finds its files: beside it, or with the installed package."""

from pathlib import Path

from pfpn.course import start
from pfpn.shipped import shipped


def test_a_notebook_by_itself_goes_to_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start()
    assert Path.cwd() == shipped("notebooks")
    assert Path("../data/checkpoints/toy.safetensors").is_file()


def test_a_notebook_with_its_files_beside_it_stays(tmp_path, monkeypatch):
    (tmp_path / "data/checkpoints").mkdir(parents=True)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    start()
    assert Path.cwd() == tmp_path / "notebooks"
