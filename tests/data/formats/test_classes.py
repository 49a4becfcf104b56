"""The table of classes: proposed, written, edited, read."""

import pytest

from pfpn.data.formats.classes import (
    ClassEntry,
    propose,
    read_classes,
    to_categories,
    to_toml,
)


def test_known_names_bring_their_kind_and_color(tmp_path):
    rows = [("7", "road", None), ("a", "car", None), ("b", "zebra fish", None), ("_", "void", None)]
    road, car, fish, void = propose(rows)
    assert (road.kind, car.kind, fish.kind, void.kind) == ("stuff", "thing", "thing", "ignore")
    assert road.sources == ("7",)
    assert propose([("7", "road", True)])[0].kind == "thing"  # the source knows better
    assert len({entry.color for entry in (road, car, fish)}) == 3


def test_names_that_are_equal_become_one_class(tmp_path):
    rows = [("1", "car", True), ("2", "car ", True), ("3", "car", False), ("4", "void", None)]
    thing, stuff, void = entries = propose([*rows, ("5", "car", True)])
    assert (thing.name, thing.sources) == ("car", ("1", "2", "5"))
    assert (stuff.name, stuff.kind, stuff.sources) == ("car (stuff)", "stuff", ("3",))
    assert void.kind == "ignore"
    path = tmp_path / "classes.toml"
    path.write_text(to_toml(entries), encoding="utf-8")
    assert read_classes(path) == entries


def test_what_was_written_is_read(tmp_path):
    entries = [
        ClassEntry('a "quoted" näme\\', "thing", (1, 2, 255), ("x", "y\tz")),
        ClassEntry("grass", "stuff", (0, 128, 0), ("3",)),
        ClassEntry("rest", "ignore", (9, 9, 9), ("0",)),
    ]
    path = tmp_path / "classes.toml"
    path.write_text(to_toml(entries), encoding="utf-8")
    assert read_classes(path) == entries
    categories, ids = to_categories(entries)
    assert [(c.id, c.name, c.is_thing) for c in categories] == [
        (1, 'a "quoted" näme\\', True),
        (2, "grass", False),
    ]
    assert ids == {"x": 1, "y\tz": 1, "3": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[classes", "broken TOML"),
        ("a = 1", "no \\[\\[classes\\]\\]"),
        ('[[classes]]\nkind = "thing"', "found name None"),
        ('[[classes]]\nname = "a"\nkind = "object"', "found kind 'object'"),
        ('[[classes]]\nname = "a"\nkind = "thing"\ncolor = "red"', "found color 'red'"),
        ('[[classes]]\nname = "a"\nkind = "thing"\nfrom = "a"', "expected a list of names"),
        (
            '[[classes]]\nname = "a"\nkind = "thing"\n[[classes]]\nname = "a"\nkind = "stuff"\n'
            'from = ["b"]',
            "the name 'a' twice",
        ),
        (
            '[[classes]]\nname = "a"\nkind = "thing"\n[[classes]]\nname = "b"\nkind = "stuff"\n'
            'from = ["a"]',
            "the entry of `from` 'a' twice",
        ),
    ],
)
def test_a_wrong_table_is_refused_in_words(tmp_path, text, message):
    path = tmp_path / "classes.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_classes(path)
