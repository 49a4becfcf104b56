"""The classes of a data set: its own category ids, and the labels that a model learns.

A data set numbers its classes as it likes, with gaps. A model needs labels without gaps: things
from 0 in the box head, stuff from 1 in the semantic head. `LabelMap` translates between them.
"""

import gc
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pfpn.files import printable
from pfpn.structures import IGNORE, Category, Segment, stuff, things

MAX_CATEGORY_ID = 2**31 - 1  # a data set is held in arrays of 32-bit integers

_COCO_THINGS = """
    1 person dc143c; 2 bicycle 770b20; 3 car 00008e; 4 motorcycle 0000e6; 5 airplane 6a00e4;
    6 bus 003c64; 7 train 005064; 8 truck 000046; 9 boat 0000c0; 10 traffic light faaa1e;
    11 fire hydrant 64aa1e; 13 stop sign dcdc00; 14 parking meter af74af; 15 bench fa001e;
    16 bird a52a2a; 17 cat ff4dff; 18 dog 00e2fc; 19 horse b6b6ff; 20 sheep 005200; 21 cow 78a69d;
    22 elephant 6e4c00; 23 bear ae39ff; 24 zebra c76400; 25 giraffe 480076; 27 backpack ffb3f0;
    28 umbrella 007d5c; 31 handbag d10097; 32 tie bcd0b6; 33 suitcase 00dcb0; 34 frisbee ff63a4;
    35 skis 5c0049; 36 snowboard 8581ff; 37 sports ball 4eb4ff; 38 kite 00e400;
    39 baseball bat aefff3; 40 baseball glove 2d59ff; 41 skateboard 868667; 42 surfboard 9194ae;
    43 tennis racket ffd0ba; 44 bottle c5e2ff; 46 wine glass ab8601; 47 cup 6d3f36; 48 fork cf8aff;
    49 knife 97005f; 50 spoon 09503d; 51 bowl 546933; 52 banana 4a4169; 53 apple a6c466;
    54 sandwich d0c3d2; 55 orange ff6d41; 56 broccoli 008f95; 57 carrot b300c2; 58 hot dog d1636a;
    59 pizza 057900; 60 donut e3ffcd; 61 cake 93bad0; 62 chair 994501; 63 couch 035fa1;
    64 potted plant a3ff00; 65 bed 7700aa; 67 dining table 00b6c7; 70 toilet 00a578; 72 tv b78258;
    73 laptop 5f2000; 74 mouse 827287; 75 remote 6e8185; 76 keyboard a64a76; 77 cell phone db8eb9;
    78 microwave 4fd272; 79 oven b25a3e; 80 toaster 41460f; 81 sink 7fa773; 82 refrigerator 3b696a;
    84 book 8e6c2d; 85 clock c4ac00; 86 vase 5f3650; 87 scissors 804cff; 88 teddy bear c93901;
    89 hair drier f6007a; 90 toothbrush bfa2d0
"""
_COCO_STUFF = """
    92 banner ffff80; 93 blanket 93d3cb; 95 bridge 966464; 100 cardboard a8abac; 107 counter 9270c6;
    109 curtain d2aa64; 112 door-stuff 5c8859; 118 floor-wood da58b8; 119 flower f18100;
    122 fruit d911ff; 125 gravel 7c4ab5; 128 house 464646; 130 light ffe4ff;
    133 mirror-stuff 9ad000; 138 net c1005c; 141 pillow 4c5b71; 144 platform ffb4c3;
    145 playingfield 6a9ab0; 147 railroad e6968c; 148 river 3c8fff; 149 road 804080;
    151 roof 5c5237; 154 sand fed47c; 155 sea 494dae; 156 shelf ffa062; 159 snow ffffff;
    161 stairs 68546d; 166 tent a9a483; 168 towel e1c7ff; 171 wall-brick 89364a;
    175 wall-stone 879edf; 176 wall-tile 07f6e7; 177 wall-wood 6bffc8; 178 water-other 3a2995;
    180 window-blind b7798e; 181 window-other ff4961; 184 tree-merged 6b8e23;
    185 fence-merged be9999; 186 ceiling-merged 928b8d; 187 sky-other-merged 4682b4;
    188 cabinet-merged 86c79c; 189 table-merged d1e28c; 190 floor-other-merged 60246c;
    191 pavement-merged 606060; 192 mountain-merged 40aa40; 193 grass-merged 98fb98;
    194 dirt-merged d0e5e4; 195 paper-merged cebaab; 196 food-other-merged 98a140;
    197 building-other-merged 747000; 198 rock-merged 00728f; 199 wall-other-merged 66669c;
    200 rug-merged fa8dff
"""
_CITYSCAPES_STUFF = """
    7 road 804080; 8 sidewalk f423e8; 11 building 464646; 12 wall 66669c; 13 fence be9999;
    17 pole 999999; 19 traffic light faaa1e; 20 traffic sign dcdc00; 21 vegetation 6b8e23;
    22 terrain 98fb98; 23 sky 4682b4
"""
_CITYSCAPES_THINGS = """
    24 person dc143c; 25 rider ff0000; 26 car 00008e; 27 truck 000046; 28 bus 003c64;
    31 train 005064; 32 motorcycle 0000e6; 33 bicycle 770b20
"""


def coco_categories() -> list[Category]:
    """Return the 133 classes of COCO panoptic: 80 things, then 53 kinds of stuff."""
    return _parse(_COCO_THINGS, is_thing=True) + _parse(_COCO_STUFF, is_thing=False)


def cityscapes_categories() -> list[Category]:
    """Return the 19 classes of Cityscapes by their official ids: 11 kinds of stuff, 8 things."""
    return _parse(_CITYSCAPES_STUFF, is_thing=False) + _parse(_CITYSCAPES_THINGS, is_thing=True)


def _parse(table: str, *, is_thing: bool) -> list[Category]:
    categories = []
    for entry in table.split(";"):
        number, *name, color = entry.split()
        red, green, blue = bytes.fromhex(color)
        categories.append(Category(int(number), " ".join(name), is_thing, (red, green, blue)))
    return categories


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Translate a data set's category ids to labels and back."""

    categories: tuple[Category, ...]
    _labels: Mapping[int, tuple[int, bool]] = field(init=False, repr=False, compare=False)
    _category_ids: Mapping[tuple[int, bool], int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        labels = {c.id: (label, True) for label, c in enumerate(things(self.categories))}
        labels |= {c.id: (label, False) for label, c in enumerate(stuff(self.categories), start=1)}
        object.__setattr__(self, "_labels", labels)
        object.__setattr__(self, "_category_ids", {key: i for i, key in labels.items()})

    def __contains__(self, category_id: object) -> bool:
        return category_id in self._labels

    def segment(
        self, segment_id: int, category_id: int, *, score: float = 1.0, is_crowd: bool = False
    ) -> Segment:
        """Make a segment of a category."""
        label, is_thing = self._labels[category_id]
        return Segment(segment_id, label, is_thing, score, is_crowd)

    def category_id(self, segment: Segment) -> int:
        """Return the data set's id for the class of a segment."""
        return self._category_ids[segment.label, segment.is_thing]


def read_categories(path: Path) -> list[Category]:
    """Read the classes of a data set from its JSON file, or from a file that lists them alone."""
    content = read_json(path)
    entries = content.get("categories") if isinstance(content, dict) else content
    return parse_categories(entries, str(path))


def parse_categories(entries: Any, where: str) -> list[Category]:
    """Turn a COCO list of categories (id, isthing, maybe name and color) into ours.

    Raises ValueError at the first entry that cannot be used.

    Args:
        entries: as JSON holds them.
        where: the file's name, for messages.
    """
    if not isinstance(entries, list):
        raise ValueError(f"{where}: found {type(entries).__name__} as categories, expected a list")
    ids: set[int] = set()
    categories: list[Category] = []
    for entry in entries:
        problem = category_problem(entry, ids)
        if problem is not None:
            raise ValueError(f"{where}: found {problem[0]}, expected {problem[1]}")
        ids.add(entry["id"])
        categories.append(parse_category(entry))
    return categories


def parse_category(entry: Mapping[str, Any]) -> Category:
    """Turn one entry without a problem into a category."""
    category = Category(entry["id"], str(entry.get("name", entry["id"])), bool(entry["isthing"]))
    return replace(category, color=tuple(entry["color"])) if "color" in entry else category


def category_problem(entry: Any, ids: Set[int]) -> tuple[str, str] | None:
    """Return what is wrong with one entry of a list of categories: (found, expected), or None.

    Args:
        entry: as JSON holds it.
        ids: of the entries before it.
    """
    if not isinstance(entry, dict):
        return f"a category that is {shorten(entry)}", 'an object with "id", "name" and "isthing"'
    number, name = entry.get("id"), entry.get("name")
    if type(number) is not int:
        return f"a category with id {shorten(number)}", "an integer"
    if abs(number) > MAX_CATEGORY_ID:
        return f"a category with id {shorten(number)}", f"an integer up to {MAX_CATEGORY_ID}"
    if number in ids:
        return f"category {number} twice", "each category id once"
    if isinstance(name, str) and printable(name) != name:
        return f"category {number} with name {shorten(name)}", "a name without control characters"
    if entry.get("isthing") not in (0, 1):
        found = f"category {number} with isthing {shorten(entry.get('isthing'))}"
        return found, "1 for a thing, else 0"
    color = entry.get("color", [0, 0, 0])
    if not (
        isinstance(color, list)
        and len(color) == 3
        and all(isinstance(value, int) and 0 <= value <= 255 for value in color)
    ):
        return f"category {number} with color {shorten(color)}", "three integers from 0 to 255"
    return None


def semantic_problem(
    categories: Sequence[Category], *, all_classes: bool = False
) -> tuple[str, str] | None:
    """Return what keeps label maps from holding these classes: (found, expected), or None.

    A label map stores 255 for pixels that are ignored, so labels end at 254.

    Args:
        categories: of a data set.
        all_classes: whether things get labels of their own, as without an instance branch.
    """
    num_stuff = len(stuff(categories))
    num = num_stuff + (len(things(categories)) if all_classes else 0)
    limit = IGNORE if all_classes else IGNORE - 1  # else label 0 means "other", that is things
    if num <= limit:
        return None
    kind = "classes" if all_classes else "stuff classes"
    return f"{num} {kind}", f"at most {limit}, for label {IGNORE} marks ignored pixels"


def categories_to_json(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Turn categories into COCO's entries; inverts `parse_categories`."""
    return [
        {"id": c.id, "name": c.name, "isthing": int(c.is_thing), "color": list(c.color)}
        for c in categories
    ]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raise ValueError with the line where it is broken."""
    if path.is_char_device():  # some never end
        raise ValueError(f"{path}: found a device, expected a JSON file")
    collects = gc.isenabled()
    gc.disable()  # it would look for cycles in all of torch's objects, again and again
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError(f"{path}: found JSON nested too deeply, expected COCO's lists") from error
    except ValueError as error:  # broken JSON, broken UTF-8, numbers of thousands of digits
        raise ValueError(f"{path}: found broken JSON ({error}), expected a whole file") from error
    finally:
        if collects:
            gc.enable()


def shorten(value: Any) -> str:
    """Return a value of JSON as text of at most 60 characters, control characters as escapes."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except RecursionError:
        text = "a deeply nested value"
    except ValueError:  # a number of thousands of digits
        text = "a huge number"
    text = printable(text)
    return text if len(text) <= 60 else text[:57] + "..."
