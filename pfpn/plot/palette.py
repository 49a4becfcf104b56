"""One color for each class, the same in every figure, and a shade of it for each instance.

Color-blind readers can distinguish the colors of the drawn world; classes of the same meaning in
other data sets get the same colors. Figures have legends, so no label depends on color alone.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, UInt8
from torch import Tensor

from pfpn.data.toy import TOY_CATEGORIES
from pfpn.structures import Category, Panoptic, Segment, stuff, things

Color = tuple[int, int, int]  # RGB, 0..255

VOID_COLOR: Color = (40, 40, 44)  # of pixels without a segment
UNSET_COLOR = Category(0, "", is_thing=False).color  # of a category without a color of its own

# Other names for classes of the drawn world, and colors for further classes of street scenes.
SAME = {
    "pedestrian": "person",
    "pavement": "sidewalk",
    "vegetation": "tree",
    "terrain": "grass",
    "house": "building",
}
CLASS_COLORS: dict[str, Color] = {category.name: category.color for category in TOY_CATEGORIES} | {
    "truck": (150, 120, 10),
    "bicycle": (136, 34, 140),
    "bicyclist": (136, 34, 140),
    "rider": (136, 34, 140),
    "pole": (60, 62, 66),
    "fence": (190, 120, 60),
    "traffic sign": (230, 80, 90),
    "signsymbol": (230, 80, 90),
    "traffic light": (250, 160, 60),
}
# For classes that have neither a known name nor a color of their own, by ascending category id.
SPARE_COLORS: tuple[Color, ...] = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0),
    (240, 228, 66), (102, 51, 120), (120, 120, 126), (160, 90, 60), (20, 70, 90), (170, 200, 120),
)  # fmt: skip
# How much the color of an instance differs from its class's: towards white (+) or black (-).
SHADES = (0.0, 0.3, -0.28, 0.52, -0.48, 0.16, -0.14, 0.42)


def class_colors(categories: Sequence[Category]) -> dict[int, Color]:
    """Return the color of each category by its category id.

    A class of street scenes has the same color in every data set. Others keep the color of their
    data set; a class without one gets one of SPARE_COLORS.
    """
    colors: dict[int, Color] = {}
    spare = 0
    for category in sorted(categories, key=lambda c: c.id):
        known = CLASS_COLORS.get(_plain(category.name))
        if known is not None:
            colors[category.id] = known
        elif category.color != UNSET_COLOR:
            colors[category.id] = category.color
        else:
            # After the end of the list its colors are repeated, paler or darker.
            turn, index = divmod(spare, len(SPARE_COLORS))
            colors[category.id] = _mix(SPARE_COLORS[index], SHADES[turn % len(SHADES)])
            spare += 1
    return colors


def instance_color(color: Color, number: int) -> Color:
    """Return the shade of a class's color for its instance `number`, from 0 up."""
    return _mix(color, SHADES[number % len(SHADES)])


def segment_colors(panoptic: Panoptic, categories: Sequence[Category]) -> dict[int, Color]:
    """Return the color of each segment by its id: its class's, in shades for things."""
    colors, seen = class_colors(categories), dict[int, int]()
    result = {}
    for segment in panoptic.segments:
        category = category_of(segment, categories)
        number = seen.get(category.id, 0)
        seen[category.id] = number + 1
        color = colors[category.id]
        result[segment.id] = instance_color(color, number) if segment.is_thing else color
    return result


def paint_ids(
    id_map: Int[Tensor, "h w"], colors: Mapping[int, Color]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the color of each pixel's id; an id without a color gets that of void."""
    known, positions = np.unique(id_map.cpu().numpy(), return_inverse=True)
    table = np.asarray([colors.get(int(i), VOID_COLOR) for i in known], dtype=np.uint8)
    return table[positions.reshape(id_map.shape)]


def category_of(segment: Segment, categories: Sequence[Category]) -> Category:
    """Return the category of a segment's label."""
    if segment.is_thing:
        return things(categories)[segment.label]
    return stuff(categories)[segment.label - 1]


def ink_on(color: Color) -> str:
    """Return "black" or "white", whichever is easier to read on `color`."""
    red, green, blue = color
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def to_hex(color: Color) -> str:
    """Return a color as matplotlib and HTML write it."""
    red, green, blue = color
    return f"#{red:02x}{green:02x}{blue:02x}"


# One class against all others: the class is a car.
FG_COLOR, BG_COLOR = to_hex(CLASS_COLORS["car"]), "#a9adb8"


def _mix(color: Color, shade: float) -> Color:
    goal = 255 if shade > 0 else 0
    red, green, blue = (round(c + (goal - c) * abs(shade)) for c in color)
    return red, green, blue


def _plain(name: str) -> str:
    """Return a class's plain name: COCO calls merged classes building-other-merged and the like."""
    plain = re.sub(r"(-(other|merged|stuff))+$", "", name.strip().lower()).replace("_", " ")
    return SAME.get(plain, plain)
