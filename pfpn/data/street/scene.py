"""A street scene from back to front: sky, horizon, ground, houses, and where the things stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pfpn.data.street.things import (
    GLASS,
    LAMPLIGHT,
    STRIPES,
    WHITE,
    add_dog,
    add_lamp,
    add_person,
    add_tree,
    add_vehicle,
    draw_balloon,
    draw_hood,
)
from pfpn.data.street.view import (
    BUILDING,
    FARTHEST,
    FOCAL,
    GRASS,
    NEAREST,
    ROAD,
    SIDEWALK,
    SKY,
    Color,
    Patch,
    Point,
    Projection,
    View,
)
from pfpn.structures import VOID

WALLS: tuple[Color, ...] = (
    (178, 92, 74), (196, 120, 88), (214, 178, 130), (222, 200, 160), (150, 100, 82), (162, 84, 78),
    (206, 150, 108), (232, 192, 148), (188, 138, 110), (216, 164, 142),
)  # fmt: skip
ROOFS: tuple[Color, ...] = ((132, 62, 48), (96, 70, 60), (84, 88, 98), (158, 84, 58), (70, 74, 82))


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the ground is used for."""

    along: bool  # whether the road leads away from the camera or crosses the view
    road: Patch
    walks: list[Patch]
    lawns: list[Patch]
    houses: list[tuple[Patch, float]]  # with their heights in metres


def draw_street(view: View) -> None:
    """Draw a whole scene."""
    _draw_sky(view)
    _draw_balloons(view)
    is_avenue = view.dice.weighted({"avenue": 0.55, "crossing": 0.45}) == "avenue"
    layout = _lay_avenue(view) if is_avenue else _lay_crossing(view)
    _draw_skyline(view, is_town=bool(layout.houses))
    _draw_ground(view, layout)
    for patch, height in sorted(layout.houses, key=lambda house: -house[0].z0):
        _draw_house(view, patch, height)
        view.cast_block(patch, 0.55 * height)
    _place_things(view, layout)
    view.items.sort(key=lambda item: -item.z)
    seed = int(view.dice.between(0, 2**32))
    view.canvas.texture(view, np.random.Generator(np.random.PCG64(seed)))
    for item in view.items:
        if item.name is None:
            view.canvas.drawn_id = VOID
        else:
            view.begin(item.name)
        item.draw()
    if view.dice.chance(0.1):
        draw_hood(view)


def _draw_sky(view: View) -> None:
    canvas, dice, mood = view.canvas, view.dice, view.mood
    canvas.drawn_id = SKY
    steps, end = 24, view.horizon + FOCAL * view.camera / FARTHEST  # where the ground begins
    for i in range(steps):
        w = i / (steps - 1)
        w = w * w * (3 - 2 * w) if view.weather == "dusk" else w
        r, g, b = (
            round((1 - w) * a + w * c) for a, c in zip(mood.zenith, mood.horizon, strict=True)
        )
        top, bottom = end * i / steps, end * (i + 1) / steps
        canvas.rectangle(0, top - 1, canvas.width, bottom + 1, (r, g, b))
    x = dice.between(0.1, 0.9) * canvas.width
    if view.weather == "day" and dice.chance(0.5):
        y = dice.between(0.08, 0.35) * view.horizon
        canvas.ellipse(x, y, 7, 7, (255, 244, 190))
        view.sky_glows.append((x, y, 30, (90, 80, 50)))
    elif view.weather == "dusk":
        y = dice.between(0.6, 0.95) * view.horizon
        canvas.ellipse(x, y, 9, 9, (255, 226, 150))
        view.sky_glows.append((x, y, 70, (100, 50, 20)))
    elif view.weather == "night":
        for _ in range(26):
            sx, sy = dice.between(0, canvas.width), dice.between(0, 0.9) * view.horizon
            size = dice.between(0.25, 0.6)
            canvas.ellipse(sx, sy, size, size, (214, 218, 236))
        y = dice.between(0.12, 0.4) * view.horizon
        canvas.ellipse(x, y, 6, 6, (240, 238, 218))
        canvas.ellipse(x + 2.6, y - 1.4, 5, 5, mood.zenith)
        view.sky_glows.append((x, y, 26, (40, 42, 52)))
    for _ in range(dice.count(mood.clouds // 3, mood.clouds)):
        _draw_cloud(view)


def _draw_cloud(view: View) -> None:
    dice, mood = view.dice, view.mood
    x, y = dice.between(0, 1) * view.canvas.width, dice.between(0.06, 0.7) * view.horizon
    size = dice.between(3, 9)
    w = {"night": 0.12, "dusk": 0.35}.get(view.weather, 0.75 if view.weather == "day" else 0.3)
    puffs = [
        (dice.between(-2.2, 2.2), dice.between(-0.35, 0.1), dice.between(0.6, 1.1))
        for _ in range(dice.count(4, 6))
    ]
    light: Color = (255, 214, 190) if view.weather == "dusk" else (252, 252, 252)
    for down, white in ((0.22, 0.75 * w), (0.0, w)):
        r, g, b = (
            round((1 - white) * (0.5 * a + 0.5 * c) + white * d)
            for a, c, d in zip(mood.zenith, mood.horizon, light, strict=True)
        )
        for dx, dy, radius in puffs:
            view.canvas.ellipse(
                x + dx * size, y + (dy + down) * size,
                radius * size * 1.25, radius * size * 0.55, (r, g, b),
            )  # fmt: skip


def _draw_balloons(view: View) -> None:
    dice = view.dice
    if view.weather in ("rain", "fog") or not dice.chance(0.6):
        return
    taken: list[Point] = []
    for _ in range(int(dice.weighted({"1": 0.6, "2": 0.28, "3": 0.12}))):
        radius = dice.between(5, 14)
        x = dice.between(-0.02, 1.02) * view.canvas.width
        y = dice.between(0.1, 0.75) * view.horizon
        if all(abs(x - x2) > 30 for x2, _ in taken):
            taken.append((x, y))
            draw_balloon(view, x, y, radius)


def _draw_skyline(view: View, *, is_town: bool) -> None:
    """Draw houses or hills on the horizon."""
    canvas, dice = view.canvas, view.dice
    base = view.horizon + FOCAL * view.camera / FARTHEST + 0.5
    if dice.chance(0.75 if is_town else 0.35):
        canvas.drawn_id = BUILDING
        x = -dice.between(0, 8)
        while x < canvas.width:
            width, height = dice.between(10, 24), dice.between(5, 13)
            color = view.lit(dice.pick(WALLS), 110, 0.8)
            canvas.rectangle(x, view.horizon - height, x + width, base, color)
            if dice.chance(0.3):
                roof = view.lit(dice.pick(ROOFS), 110, 0.8)
                top = view.horizon - height
                peak = (x + width / 2, top - width * 0.35)
                canvas.polygon(((x, top), peak, (x + width, top)), roof)
            for _ in range(int(width * height / 12)):
                shines = dice.chance(view.mood.lit)
                wx, wy = dice.between(x + 1, x + width - 2), dice.between(0, height - 2)
                pane = view.shining(LAMPLIGHT, 60) if shines else view.lit(GLASS, 110, 0.7)
                wy = view.horizon - height + 1 + wy
                canvas.rectangle(wx, wy, wx + 0.9, wy + 1.1, pane)
            x += width
    else:
        canvas.drawn_id = GRASS
        for far, rise in ((60, 14), (35, 9)):
            color = view.lit((92, 132, 70), far, 0.95)
            knots = [dice.between(0.15, 1) * rise for _ in range(7)]
            ridge = []
            for i in range(61):
                position = i / 60 * (len(knots) - 1)
                k = min(int(position), len(knots) - 2)
                w = position - k
                w = w * w * (3 - 2 * w)
                top = view.horizon - (1 - w) * knots[k] - w * knots[k + 1]
                ridge.append((i / 60 * canvas.width, top))
            canvas.polygon([(0, base), *ridge, (canvas.width, base)], color)


def _draw_ground(view: View, layout: _Layout) -> None:
    canvas, dice = view.canvas, view.dice
    canvas.drawn_id = GRASS
    top = view.horizon + FOCAL * view.camera / FARTHEST
    grass = dice.pick(((98, 158, 60), (114, 168, 64), (100, 150, 70), (122, 170, 76)))
    canvas.rectangle(-1, top, canvas.width + 1, canvas.height + 1, view.flat(grass))
    canvas.drawn_id = SIDEWALK
    paving = dice.pick(((200, 198, 196), (208, 204, 196), (190, 192, 198)))
    for walk in layout.walks:
        view.quad(walk, view.flat(paving))
        _draw_slabs(view, walk, view.flat(paving, 0.88))
    canvas.drawn_id = ROAD
    asphalt = view.flat(dice.pick(((92, 94, 100), (104, 104, 108), (82, 84, 92))))
    view.quad(layout.road, asphalt)
    _draw_marks(view, layout.road, view.flat((228, 226, 214)), along=layout.along)
    _draw_spots(view, [layout.road], (0.28, 0.36), [view.flat((82, 84, 90))], dice.count(0, 2))
    if view.is_raining:
        puddle = view.flat(view.mood.horizon, 1.05)
        canvas.drawn_id = ROAD
        _draw_spots(view, [layout.road], (0.4, 1.3), [puddle], 7)
        canvas.drawn_id = SIDEWALK
        _draw_spots(view, layout.walks, (0.2, 0.5), [puddle], 5)
    elif dice.chance(0.5):
        canvas.drawn_id = GRASS
        petals = [view.flat(dice.pick(STRIPES)), view.flat(WHITE)]
        _draw_spots(view, layout.lawns, (0.07, 0.14), petals, 40)


def _draw_spots(
    view: View,
    patches: Sequence[Patch],
    radii: tuple[float, float],
    colors: Sequence[Color],
    num: int,
) -> None:
    """Draw flat round spots on the near ground: puddles, manholes, flowers."""
    dice = view.dice
    for _ in range(num):
        patch: Patch = dice.pick(patches)
        radius, color = dice.between(*radii), dice.pick(colors)
        low, high = max(patch.z0, view.closest) + radius, min(patch.z1, 25.0) - radius
        if low >= high:
            continue
        u = dice.between(0, 1)
        z = low + (high - low) * u * u
        left, right = view.across(z)
        left, right = max(left, patch.x0) + radius, min(right, patch.x1) - radius
        if left >= right:
            continue
        x, y = view.at(dice.between(left, right), 0, z)
        flat = FOCAL * view.camera / z**2  # units of height per metre of depth
        view.canvas.ellipse(x, y, radius * FOCAL / z, radius * flat, color)


def _draw_slabs(view: View, walk: Patch, line: Color) -> None:
    """Draw the joints between paving stones."""
    left, right = max(walk.x0, -40.0), min(walk.x1, 40.0)
    z = max(walk.z0, view.closest - 0.5)
    while z < min(walk.z1, 30):
        view.quad(Patch(left, right, z, z + 0.12), line)
        z += 1.5
    if walk.z1 - walk.z0 > right - left:  # an avenue's walk: one joint along it
        middle = (walk.x0 + walk.x1) / 2
        view.quad(Patch(middle - 0.05, middle + 0.05, walk.z0, walk.z1), line)
    else:
        x = left
        while x < right:
            view.quad(Patch(x - 0.05, x + 0.05, walk.z0, walk.z1), line)
            x += 1.5


def _draw_marks(view: View, lane: Patch, paint: Color, *, along: bool) -> None:
    """Draw the dashes in the middle of a road, lines at its sides, perhaps a zebra crossing."""
    dice = view.dice
    start, zebra = dice.between(0, 3), dice.chance(0.4)
    if along:
        middle, half = (lane.x0 + lane.x1) / 2, 0.09
        z = view.closest - 2 + start
        while z < 70:
            view.quad(Patch(middle - half, middle + half, z, z + 2), paint)
            z += 4.5
        for x in (lane.x0 + 0.25, lane.x1 - 0.25):
            view.quad(Patch(x - 0.07, x + 0.07, lane.z0, lane.z1), paint)
        if zebra:
            z, x = dice.between(view.closest + 1, 16), lane.x0 + 0.5
            while x < lane.x1 - 0.4:
                view.quad(Patch(x, x + 0.5, z, z + 3), paint)
                x += 1.0
    else:
        middle, half = (lane.z0 + lane.z1) / 2, 0.1
        x = -40 + start
        while x < 40:
            view.quad(Patch(x, x + 2, middle - half, middle + half), paint)
            x += 4.5
        if zebra:
            left, right = view.across(middle)
            x, z = dice.between(0.2, 0.8) * (right - left) + left, lane.z0 + 0.4
            while z < lane.z1 - 0.4:
                view.quad(Patch(x, x + 3, z, z + 0.5), paint)
                z += 1.0


def _lay_avenue(view: View) -> _Layout:
    """Return a layout that looks along a road with walks, lawns and houses at both sides."""
    dice = view.dice
    middle, half = dice.between(-2.0, 2.0), dice.between(2.8, 3.6)
    road = Patch(middle - half, middle + half, NEAREST, FARTHEST)
    walks: list[Patch] = []
    lawns: list[Patch] = []
    houses: list[tuple[Patch, float]] = []
    for side in (-1, 1):
        curb = middle + side * half
        walk_width = dice.between(2.6, 4.2)
        outer = curb + side * walk_width
        walks.append(Patch(min(curb, outer), max(curb, outer), NEAREST, FARTHEST))
        front = outer + side * (0.0 if dice.chance(0.4) else dice.between(3, 8))
        lawns.append(Patch(min(outer, front), max(outer, front), NEAREST, 60))
        if dice.chance(0.14):
            lawns[-1] = Patch(
                min(outer, outer + side * 12), max(outer, outer + side * 12), NEAREST, 60
            )
            continue
        z = dice.between(2.5, 12)
        while z < 85:
            depth = dice.between(9, 17)
            height = dice.between(3.5, 11)
            far = front + side * dice.between(7, 12)
            patch = Patch(min(front, far), max(front, far), z, z + depth)
            houses.append((patch, height))
            z += depth + (dice.between(3, 10) if dice.chance(0.25) else 0)
    return _Layout(True, road, walks, lawns, houses)


def _lay_crossing(view: View) -> _Layout:
    """Return a layout that looks across a road, at the houses on its other side."""
    dice = view.dice
    z = view.closest + dice.between(0.7, 3.0)
    wide = 200.0
    lawns = [Patch(-wide, wide, view.closest, z)]
    near = Patch(-wide, wide, z, z + dice.between(1.8, 2.8))
    road = Patch(-wide, wide, near.z1, near.z1 + dice.between(5.5, 8))
    far = Patch(-wide, wide, road.z1, road.z1 + dice.between(2.6, 4))
    front = far.z1 + (0.0 if dice.chance(0.35) else dice.between(3, 9))
    lawns.append(Patch(-wide, wide, far.z1, front))
    houses: list[tuple[Patch, float]] = []
    left, right = view.across(front, 60)
    x = left
    share = dice.pick((0.25, 0.7, 0.92))
    while x < right:
        width, height = dice.between(8, 15), dice.between(3.5, 10)
        if dice.chance(share):
            depth = dice.between(5, 9)
            houses.append((Patch(x, x + width, front, front + depth), height))
        x += width + (dice.between(2, 7) if dice.chance(0.4) else 0.0)
    houses.sort(
        key=lambda house: -abs(house[0].x0 + house[0].x1)
    )  # the middle last: it hides the sides
    return _Layout(False, road, [near, far], lawns, houses)


def _draw_house(view: View, patch: Patch, height: float) -> None:
    """Draw the wall that faces the camera, the one that faces the road, and the roof."""
    canvas, dice = view.canvas, view.dice
    canvas.drawn_id = BUILDING
    wall, roof = dice.pick(WALLS), dice.pick(ROOFS)
    x0, x1, z0, z1 = patch.x0, patch.x1, max(patch.z0, NEAREST), patch.z1
    if z1 <= z0:
        return
    is_pitched = dice.chance(0.5) and height < 8
    shutters = dice.chance(0.3)
    red, green, blue = wall
    trim = (min(255, red + 40), min(255, green + 40), min(255, blue + 40))
    side_x = x0 if x0 > 0 else x1 if x1 < 0 else None
    if side_x is not None:

        def on_side(u: float, v: float) -> Point:
            return view.at(side_x, v, z0 + u)

        shade = 0.8 if (side_x > 0) == (view.sun[0] > 0) else 1.02
        corners = ((0, 0), (z1 - z0, 0), (z1 - z0, height), (0, height))
        canvas.outline(on_side, corners, view.lit(wall, (z0 + z1) / 2, shade))
        _draw_facade(view, on_side, z1 - z0, height, z0, shade, trim, shutters)

    def on_front(u: float, v: float) -> Point:
        return view.at(x0 + u, v, z0)

    width = x1 - x0
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    canvas.outline(on_front, corners, view.lit(wall, z0, 0.94))
    _draw_facade(view, on_front, width, height, z0, 0.94, trim, shutters)
    if is_pitched:
        peak = view.at((x0 + x1) / 2, height + 0.3 * width, (z0 + z1) / 2)
        if side_x is not None:
            edge = -0.3 if side_x > 0 else 0.3
            eaves = (view.at(side_x + edge, height, z0), view.at(side_x + edge, height, z1))
            canvas.polygon((*eaves, peak), view.lit(roof, z0, 0.85))
        eaves = (view.at(x0 - 0.3, height, z0), view.at(x1 + 0.3, height, z0))
        canvas.polygon((*eaves, peak), view.lit(roof, z0))
    else:
        low, top, end = height - 0.1, height + 0.35, width + 0.15
        edge_of_roof = ((-0.15, low), (end, low), (end, top), (-0.15, top))
        canvas.outline(on_front, edge_of_roof, view.lit(trim, z0, 0.9))


def _draw_facade(
    view: View,
    on: Projection,
    width: float,
    height: float,
    z: float,
    shade: float,
    trim: Color,
    shutters: bool,
) -> None:
    """Draw door, awning and rows of windows on a wall that `on` projects."""
    canvas, dice = view.canvas, view.dice
    px = FOCAL / z  # units per metre, at the near end
    if px < 2.2:
        return

    def quad(u: float, v: float, w: float, h: float, color: Color) -> None:
        canvas.outline(on, ((u, v), (u + w, v), (u + w, v + h), (u, v + h)), color)

    if px > 5:  # single bricks, darker or lighter than the wall
        for _ in range(min(36, int(0.9 * width * height))):
            tone = view.lit(trim, z, shade * dice.between(0.68, 0.86))
            u, v = dice.between(0, width - 0.6), dice.between(0.2, height - 0.4)
            quad(u, v, 0.55, 0.2, tone)
    frame = view.lit(trim, z, shade)
    dark = view.lit(GLASS, z, shade * 0.8)
    lamp = view.shining(LAMPLIGHT, z)
    columns = max(1, min(6, int(width / 2.1)))
    floors = max(1, min(4, int(height / 2.7)))
    step = width / columns
    is_shop = dice.chance(0.4)
    door = dice.count(0, columns - 1)
    wood = dice.pick(((110, 60, 40), (40, 84, 70), (60, 60, 90), (140, 40, 44)))
    for floor in range(floors):
        for column in range(columns):
            u, v = (column + 0.5) * step - 0.55, floor * 2.7 + 0.9
            shines = dice.chance(view.mood.lit)
            if floor == 0 and column == door:
                quad(u, 0, 1.1, 2.1, view.lit(wood, z, shade))
                continue
            if px > 5:
                quad(u - 0.12, v - 0.12, 1.34, 1.5, frame)
            if shutters and floor and px > 5:
                quad(u - 0.5, v - 0.05, 0.4, 1.36, view.lit(wood, z, shade))
                quad(u + 1.2, v - 0.05, 0.4, 1.36, view.lit(wood, z, shade))
            quad(u, v, 1.1, 1.26, lamp if shines else dark)
            if px > 8 and not shines:
                quad(u, v + 0.63, 1.1, 0.63, view.lit(GLASS, z, shade * 1.05))
    if is_shop and px > 3.5:
        first = view.lit(dice.pick(STRIPES), z, shade)
        second = view.lit(WHITE, z, shade)
        parts = max(2, min(12, int(width / 0.9)))
        for i in range(parts):
            quad(i * width / parts, 2.2, width / parts, 0.55, second if i % 2 else first)


def _find_spot(
    view: View,
    patches: Sequence[Patch],
    far: float,
    size: tuple[float, float],
    *,
    near: float = 0.2,
    margin: float = 3,
) -> tuple[float, float] | None:
    """Return a free, visible position (x, z) for a thing; None if 16 attempts found none.

    `size` is its half width and its height in metres. The position is at least `near` metres behind
    the nearest visible ground, at most `far` metres ahead of the camera, and at most `margin` units
    outside the picture.
    """
    dice, (half, height) = view.dice, size
    for _ in range(16):
        patch: Patch = dice.pick(patches)
        low, high = max(patch.z0, view.closest + near), min(patch.z1, far)
        u = dice.between(0, 1)
        if low >= high:
            continue
        z = low + (high - low) * u * (0.4 + 0.6 * u)  # near positions are more frequent
        left, right = view.across(z, margin)
        left, right = max(left, patch.x0 + 0.35), min(right, patch.x1 - 0.35)
        if left >= right:
            continue
        x = dice.between(left, right)
        if view.is_free(view.footprint(x, z, half), view.box(x, z, half, height), 0.1):
            return x, z
    return None


def _place_things(view: View, layout: _Layout) -> None:
    """Add what stands on the ground, the largest kinds first: later ones need free ground."""
    dice, walks, lawns = view.dice, layout.walks, layout.lawns
    _place_traffic(view, layout.road, along=layout.along)
    for _ in range(dice.count(0, 3)):
        height = dice.between(3.2, 5.6)
        spot = _find_spot(
            view, [*lawns, *lawns, *walks], 34, (0.34 * height, height), near=1.5, margin=6
        )
        if spot:
            add_tree(view, *spot, height)
    for _ in range(dice.count(1, 2) if dice.chance(0.5) else 0):
        spot = _find_spot(view, walks, 30, (0.2, 4.2), near=1, margin=0)
        if spot:
            add_lamp(view, *spot)
    walkable = [*walks, *walks, *walks, *lawns, layout.road]
    for _ in range(dice.count(0, 3)):
        size = dice.between(1.0, 1.16) if dice.chance(0.8) else dice.between(0.7, 0.82)
        spot = _find_spot(view, walkable, 20, (0.45 * size, 2 * size), margin=1)
        if spot:
            add_person(view, *spot, size)
    for _ in range(dice.count(0, 1) + dice.chance(0.3)):
        size = dice.between(1.1, 1.5)
        spot = _find_spot(
            view, [*walks, *lawns], 10, (0.75 * size, 1.05 * size), near=0.3, margin=-3
        )
        if spot:
            add_dog(view, *spot, size)


def _place_traffic(view: View, road: Patch, *, along: bool) -> None:
    dice = view.dice
    for _ in range(dice.count(0, 4)):
        is_bus = dice.chance(0.22)
        length, width = (dice.between(7.5, 9.5), 2.5) if is_bus else (dice.between(3.5, 4.5), 1.8)
        for _ in range(8):
            lane = dice.pick((-1, 1))
            if along:
                half = (road.x1 - road.x0) / 2
                x = (road.x0 + road.x1) / 2 + lane * half * dice.pick((0.5, 0.5, 0.68))
                u = dice.between(0, 1)
                z = (view.closest + 0.4 if not is_bus else 8) + 27 * u * (0.35 + 0.65 * u)
                left, right = view.across(z, 8)
                footprint = Patch(x - width / 2, x + width / 2, z, z + length)
            else:
                half = (road.z1 - road.z0) / 2
                z = (road.z0 + road.z1) / 2 + lane * half * 0.5 - width / 2
                left, right = view.across(z, -4)
                x = dice.between(left - 0.4 * length, right + 0.4 * length)
                footprint = Patch(x - length / 2, x + length / 2, z, z + width)
                left, right = left - length, right + length
            box = view.box(x, z, (width if along else length) / 2, 2.9 if is_bus else 1.5)
            if left < x < right and view.is_free(footprint, box, 0.7):
                add_vehicle(view, x, z, length, width, lane, box, is_bus=is_bus, along=along)
                break
