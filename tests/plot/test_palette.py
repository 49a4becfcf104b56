"""Colors: the same class, the same color, and apart for every reader."""

import numpy as np
import pytest

from pfpn.data.categories import coco_categories
from pfpn.data.toy import TOY_CATEGORIES
from pfpn.plot.palette import (
    SHADES,
    SPARE_COLORS,
    UNSET_COLOR,
    class_colors,
    ink_on,
    instance_color,
    to_hex,
)
from pfpn.structures import Category

# What is left of linear RGB without one kind of cone: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "no long": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no medium": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def to_lab(colors, eye) -> np.ndarray:
    c = np.asarray(colors) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.asarray(eye).T).clip(0, 1)
    xyz = seen @ RGB_TO_XYZ.T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def nearest_pair(colors, eye) -> float:
    lab = to_lab(colors, eye)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return apart[np.triu_indices(len(lab), k=1)].min()


def test_the_color_distance_depends_on_the_cones():
    """Without the medium cones this pair is near, with all cones far."""
    pair = [(200, 60, 60), (110, 110, 50)]
    assert nearest_pair(pair, EYES["all cones"]) > 50
    assert nearest_pair(pair, EYES["no medium"]) < 20


@pytest.mark.parametrize("eye", EYES)
def test_classes_of_the_drawn_world_differ_with_and_without_each_kind_of_cone(eye):
    colors = class_colors(TOY_CATEGORIES)
    assert nearest_pair([colors[c.id] for c in TOY_CATEGORIES], EYES[eye]) > 20


def test_figures_and_files_of_the_drawn_world_use_the_same_colors():
    colors = class_colors(TOY_CATEGORIES)
    assert colors == {c.id: c.color for c in TOY_CATEGORIES}


def test_a_class_has_its_color_in_every_data_set():
    toy = {c.name: c.color for c in TOY_CATEGORIES}
    names = {"Pavement": "sidewalk", "Sky": "sky", "road-merged": "road", "pedestrian": "person",
             "building-other-merged": "building", "BUS": "bus"}  # fmt: skip
    categories = [Category(7 + i, name, is_thing=False) for i, name in enumerate(names)]
    colors = class_colors(categories)
    for category, same in zip(categories, names.values(), strict=True):
        assert colors[category.id] == toy[same]


def test_other_classes_keep_the_color_their_data_set_gives_them():
    given = Category(3, "teapot", True, (1, 2, 3))
    assert class_colors([given]) == {3: (1, 2, 3)}


def test_classes_without_a_color_get_spare_ones_by_ascending_id_however_they_are_listed():
    a, b = Category(9, "kettle", True), Category(2, "spoon", False)
    assert class_colors([a, b]) == class_colors([b, a]) == {2: SPARE_COLORS[0], 9: SPARE_COLORS[1]}


def test_there_are_more_spare_colors_than_in_their_list():
    many = [Category(i, f"class {i}", True) for i in range(3 * len(SPARE_COLORS))]
    colors = class_colors(many)
    assert len(set(colors.values())) == len(many)
    assert UNSET_COLOR not in colors.values()


def test_every_coco_class_has_a_color():
    assert set(class_colors(coco_categories())) == {c.id for c in coco_categories()}


def test_the_first_instance_has_the_class_color_and_the_next_ones_differ():
    color = (0, 124, 215)
    shades = [instance_color(color, i) for i in range(len(SHADES))]
    assert shades[0] == color
    assert len(set(shades)) == len(SHADES)
    assert instance_color(color, len(SHADES)) == color
    for shade in shades:
        assert all(0 <= c <= 255 for c in shade)


def test_shades_go_to_white_and_black():
    light, dark = instance_color((100, 100, 100), 1), instance_color((100, 100, 100), 2)
    assert light == (146, 146, 146)  # 100 + 0.3 * 155 = 146.5, to the even number
    assert dark == (72, 72, 72)  # 100 - 0.28 * 100


def test_ink_is_readable_on_its_ground():
    assert ink_on((255, 255, 255)) == "black"
    assert ink_on((240, 200, 30)) == "black"
    assert ink_on((0, 0, 0)) == "white"
    assert ink_on((94, 16, 1)) == "white"


def test_hex_has_two_digits_for_each_channel():
    assert to_hex((0, 15, 255)) == "#000fff"
