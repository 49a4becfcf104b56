"""Photographs are found by the names that tools give them; pictures of one name are told apart."""

import unicodedata
from pathlib import Path

import pytest

from pfpn.data.formats.regions import Picture
from pfpn.data.formats.source import ImageFinder, told_apart


def files(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return ImageFinder([root])


@pytest.mark.parametrize(
    "name",
    [
        "Große Straße 1.jpg",
        "images/Große Straße 1.jpg",
        r"..\..\media\Große Straße 1.jpg",
        "große straße 1.JPG",
        unicodedata.normalize("NFD", "Große Straße 1.jpg"),
        "Große Straße 1",  # of a label image, without a suffix
        "Große Straße 1.png",  # the tool converted it
        "/data/upload/7/3f2b1c9a-Gro%C3%9Fe_Stra%C3%9Fe_1.jpg",  # Label Studio
        r"..\..\label-studio\media\upload\7\3f2b1c9a-Große_Straße_1.jpg",
        "/data/local-files/?d=mine/Gro%C3%9Fe%20Stra%C3%9Fe%201.jpg",
        "https://host/bucket/Gro%C3%9Fe%20Stra%C3%9Fe%201.jpg?signature=abc",
    ],
)
def test_a_photograph_is_found_under_what_tools_call_it(tmp_path, name):
    finder = files(tmp_path, "Große Straße 1.jpg", "Große Straße 11.jpg", "other.jpg")
    assert finder.look(name) == (tmp_path / "Große Straße 1.jpg", ())


def test_a_name_as_it_is_goes_before_its_readings(tmp_path):
    finder = files(
        tmp_path, "a%20b.jpg", "a b.jpg", "3f2b1c9a-p.jpg", "p.jpg", "my_p.jpg", "my p.jpg"
    )
    for name in ("a%20b.jpg", "a b.jpg", "3f2b1c9a-p.jpg", "p.jpg", "my_p.jpg", "my p.jpg"):
        assert finder.find(f"images/{name}") == tmp_path / name


def test_of_photographs_with_one_name_that_in_the_same_folders_is_taken(tmp_path):
    finder = files(tmp_path, "x/day1/p.jpg", "x/day2/p.jpg")
    assert finder.find("export/day2/p.jpg") == tmp_path / "x/day2/p.jpg"
    assert finder.find(r"C:\export\day1\p.png") == tmp_path / "x/day1/p.jpg"


def test_different_photographs_of_one_name_are_not_guessed_at(tmp_path):
    finder = files(tmp_path, "day1/p.jpg", "day2/p.jpg")
    path, (problem,) = finder.look("p.jpg")
    assert not path.is_file()
    assert "day1" in problem
    assert "day2" in problem
    assert "--images" in problem
    (tmp_path / "day2/p.jpg").write_bytes((tmp_path / "day1/p.jpg").read_bytes())  # a copy
    assert finder.find("p.jpg") == tmp_path / "day1/p.jpg"


def test_a_name_never_leads_out_of_the_folders(tmp_path):
    files(tmp_path, "secret.jpg")
    finder = files(tmp_path / "in", "p.jpg")
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "%2e%2e/secret.jpg"):
        assert finder.find(name) is None


def names(*origins):
    pictures = [Picture(Path(o).stem, Path(o), (1, 1), list, (), o) for o in origins]
    return [picture.name for picture in told_apart(pictures)]


def test_pictures_of_one_name_are_told_apart_by_folder_then_by_suffix():
    assert names("a/p.jpg", "b/q.jpg") == ["p", "q"]
    assert names("a/p.jpg", "b/P.jpg", "b/q.jpg") == ["a_p", "b_P", "q"]
    assert names("p.jpg", "p.png", "q.png") == ["p_jpg", "p_png", "q"]
    assert names("../day 1/x/p.jpg", "../day 2/x/p.jpg") == ["day 1_x_p", "day 2_x_p"]
