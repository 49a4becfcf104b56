"""What stands on a street or floats above it: each thing is made of a few flat shapes.

`draw_*` draws at once. `add_*` rolls the dice, casts the shadow and leaves the drawing to the turn
that the thing's depth gives it. Lengths are metres; `place` or `solid` projects them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pfpn.data.street.view import CIRCLE, FOCAL, Box, Color, Dice, Patch, Point, View
from pfpn.structures import VOID

PAINTS: tuple[Color, ...] = (
    (164, 40, 46), (38, 84, 168), (236, 236, 232), (58, 62, 70), (176, 182, 188), (32, 124, 116),
    (122, 40, 58), (86, 148, 204), (230, 120, 50), (120, 160, 84), (150, 190, 214),
)  # fmt: skip
BUS_PAINTS: tuple[Color, ...] = ((246, 190, 36), (246, 190, 36), (222, 44, 40))
COATS: tuple[Color, ...] = (
    (214, 48, 56), (40, 104, 196), (240, 190, 48), (98, 58, 140), (30, 140, 110), (236, 118, 158),
    (52, 56, 66), (226, 226, 220), (222, 110, 40), (110, 180, 210),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = (
    (36, 44, 70), (70, 62, 56), (44, 46, 50), (96, 104, 130), (120, 100, 78),
)  # fmt: skip
SKINS: tuple[Color, ...] = ((244, 206, 176), (224, 172, 130), (176, 120, 82), (118, 76, 52))
HAIRS: tuple[Color, ...] = (
    (40, 28, 22), (92, 58, 32), (196, 150, 78), (150, 150, 150), (24, 22, 24),
)  # fmt: skip
FURS: tuple[Color, ...] = (
    (150, 98, 52), (60, 46, 40), (226, 204, 164), (238, 236, 230), (190, 130, 66),
)  # fmt: skip
LEAVES: tuple[Color, ...] = (
    (52, 112, 50), (38, 96, 60), (70, 122, 44), (46, 104, 44), (196, 110, 38), (214, 150, 44),
    (170, 66, 48), (226, 150, 176),
)  # fmt: skip
NEEDLES: tuple[Color, ...] = ((28, 84, 62), (34, 92, 52), (44, 88, 80))
STRIPES: tuple[Color, ...] = (
    (222, 60, 60), (250, 200, 60), (60, 130, 200), (250, 246, 236), (120, 70, 160), (60, 160, 120),
    (240, 130, 60), (236, 110, 160),
)  # fmt: skip
BLACK, WHITE, GLASS, TIRE = (24, 24, 28), (245, 245, 240), (92, 122, 146), (34, 34, 38)
LAMPLIGHT, HEADLIGHT, TAILLIGHT = (255, 214, 130), (255, 246, 206), (224, 40, 44)


def draw_balloon(view: View, x: float, y: float, r: float) -> None:
    """Draw a hot-air balloon around (x, y) with radius r, in units."""
    canvas, dice = view.canvas, view.dice
    view.begin("balloon")
    z = 300 / r  # far enough to take some haze
    first, second = dice.pick(STRIPES), dice.pick(STRIPES)
    if second == first:
        second = STRIPES[(STRIPES.index(first) + 1) % len(STRIPES)]
    base, light = view.lit(first, z), view.lit(second, z)
    # Envelope: a ball that narrows into a skirt, in gores of two colors.
    skirt = (
        (x - 0.86 * r, y + 0.5 * r), (x + 0.86 * r, y + 0.5 * r),
        (x + 0.3 * r, y + 1.35 * r), (x - 0.3 * r, y + 1.35 * r),
    )  # fmt: skip
    canvas.polygon(skirt, base)
    canvas.ellipse(x, y, r, r, base)
    down = (-0.98, -0.7, -0.35, 0, 0.35)
    for side in (-1, 1):
        gore = [(x + side * 0.78 * r * (1 - k * k) ** 0.5, y + k * r) for k in down]
        gore += [(x + side * 0.66 * r, y + 0.56 * r), (x + side * 0.24 * r, y + 1.33 * r)]
        gore += [(x + side * 0.14 * r, y + 1.33 * r), (x + side * 0.42 * r, y + 0.56 * r)]
        gore += [(x + side * 0.5 * r * (1 - k * k) ** 0.5, y + k * r) for k in reversed(down)]
        canvas.polygon(gore, light)
    canvas.polygon(
        ((x - 0.2 * r, y - 0.97 * r), (x + 0.2 * r, y - 0.97 * r),
         (x + 0.22 * r, y + 0.6 * r), (x + 0.07 * r, y + 1.33 * r),
         (x - 0.07 * r, y + 1.33 * r), (x - 0.22 * r, y + 0.6 * r)),
        light,
    )  # fmt: skip
    basket = view.lit((116, 76, 42), z)
    canvas.rectangle(x - 0.24 * r, y + 1.3 * r, x + 0.24 * r, y + 1.82 * r, basket)
    if view.is_dark:
        view.sky_glows.append((x, y + 0.7 * r, 2 * r, (100, 66, 24)))


def add_tree(view: View, x: float, z: float, height: float) -> None:
    """Add a round tree in leaf, blossom or autumn colors, perhaps with fruit, or a fir."""
    dice = view.dice
    is_fir = dice.weighted({"round": 0.6, "fir": 0.4}) == "fir"
    if is_fir:
        leaf, puffs, clumps, fruit = dice.pick(NEEDLES), [], [], None
    else:
        leaf = dice.pick(LEAVES)
        puffs = [
            (dice.between(-0.2, 0.2), dice.between(-0.16, 0.16), dice.between(0.17, 0.25))
            for _ in range(6)
        ]
        clumps = [
            (dice.between(-0.26, 0.2), dice.between(-0.2, 0.28), dice.between(0.03, 0.07))
            for _ in range(9)
        ]
        fruit = dice.pick(((208, 40, 40), None, None))
    half = height * (0.3 if is_fir else 0.4)
    view.cast(x, z, half * 0.8, height)
    sunny = -1 if view.sun[0] > 0 else 1

    def draw() -> None:
        canvas, place, m = view.canvas, view.local(x, z), FOCAL / z

        def disk(a: float, b: float, r: float, color: Color) -> None:
            canvas.ellipse(*place(a, b), r * m, r * m, color)

        trunk = ((-0.26, 0), (0.26, 0), (0.18, height * 0.5), (-0.18, height * 0.5))
        canvas.outline(place, trunk, view.lit((104, 74, 50), z))
        if is_fir:
            tiers = ((0.16, 0.6, 1.0), (0.38, 0.8, 0.8), (0.6, 1.0, 0.58))
            for i, (low, top, wide) in enumerate(tiers):
                low, tip, reach = low * height, (0, top * height), half * wide
                color = view.lit(leaf, z, 0.86 + 0.12 * i)
                canvas.outline(place, ((-reach, low), tip, (reach, low)), color)
                color = view.lit(leaf, z, 1.04 + 0.12 * i)
                canvas.outline(place, ((0, low), tip, (sunny * reach, low)), color)
            return
        middle = height * 0.64
        crown = [(0.0, 0.0, 0.33), *puffs]
        for shift, size, shade in ((0.0, 1.0, 0.8), (0.05, 0.82, 1.0), (0.1, 0.5, 1.18)):
            color = view.lit(leaf, z, shade)  # lighter and smaller, towards the sun
            for dx, dy, radius in crown:
                a, b = dx * size + sunny * shift * 0.9, dy * size + shift
                disk(a * height, middle + b * height, radius * size * height, color)
        for i, (dx, dy, radius) in enumerate(clumps):
            color = view.lit(leaf, z, 1.26 if i % 2 else 0.9)
            if fruit and i % 2:
                color, radius = view.lit(fruit, z), 0.028
            if dx * dx + dy * dy < 0.08:
                disk(dx * height, middle + dy * height, radius * height, color)

    view.stand(z, "tree", view.footprint(x, z, half), view.box(x, z, half, height), draw)


def add_lamp(view: View, x: float, z: float) -> None:
    """Add a street lamp, which belongs to no category: some things in the world are unlabelled."""
    side = 1 if x < 0 else -1
    view.cast(x, z, 0.15, 0.3)
    if view.is_dark:
        strength = 0.5 if view.weather == "night" else 0.25
        view.glow(view.at(x + side * 0.6, 4.0, z), 2.6 * FOCAL / z, LAMPLIGHT, strength)

    def draw() -> None:
        canvas, place = view.canvas, view.local(x, z, side)
        iron = view.lit((66, 72, 78), z)
        canvas.outline(place, ((-0.07, 0), (0.07, 0), (0.05, 4.2), (-0.05, 4.2)), iron)
        canvas.outline(place, ((0, 4.2), (0.8, 4.25), (0.8, 4.12), (0, 4.05)), iron)
        bulb = view.shining(LAMPLIGHT, z) if view.is_dark else view.lit((226, 226, 214), z)
        canvas.outline(place, ((0.4, 4.12), (0.85, 4.12), (0.78, 3.94), (0.47, 3.94)), bulb)

    view.stand(z, None, view.footprint(x, z, 0.2), view.box(x, z, 0.2, 4.2), draw)


def add_person(view: View, x: float, z: float, size: float) -> None:
    """Add a person, 2 metres high with hair if `size` is 1; some with hat, bag or umbrella."""
    dice = view.dice
    coat, trousers = dice.pick(COATS), dice.pick(TROUSERS)
    skin, hair = dice.pick(SKINS), dice.pick(HAIRS)
    wears_dress, from_behind = dice.chance(0.3), dice.chance(0.45)
    extra = dice.weighted({"none": 0.55, "hat": 0.2, "bag": 0.25})
    has_umbrella = view.is_raining and dice.chance(0.75)
    cover = dice.pick(STRIPES)
    stride, flip = dice.between(0.02, 0.12), dice.pick((-1.0, 1.0))
    view.cast(x, z, 0.36 * size, 1.7 * size)

    def draw() -> None:
        canvas, m = view.canvas, FOCAL / z * size
        base = view.local(x, z, flip)

        def place(a: float, b: float) -> Point:
            return base(a * size, b * size)

        def shape(color: Color, *corners: Point) -> None:
            canvas.outline(place, corners, color)

        def disk(a: float, b: float, r: float, color: Color, tall: float = 1.0) -> None:
            canvas.ellipse(*place(a, b), r * m, r * tall * m, color)

        legs, shoe = view.lit(trousers, z), view.lit((40, 32, 30), z)
        shape(legs, (-0.24 - stride, 0), (-0.02, 0), (0.0, 0.9), (-0.25, 0.9))
        legs = view.lit(trousers, z, 0.82)
        shape(legs, (0.02, 0.03), (0.24 + stride, 0.03), (0.25, 0.9), (0.0, 0.9))
        disk(-0.14 - stride, 0.05, 0.15, shoe, 0.5)
        disk(0.16 + stride, 0.06, 0.15, shoe, 0.5)
        body, sleeve = view.lit(coat, z), view.lit(coat, z, 0.78)
        for s in (-1, 1):  # arms
            shape(sleeve, (s * 0.22, 1.42), (s * 0.36, 1.36), (s * 0.44, 0.82), (s * 0.3, 0.78))
            disk(s * 0.37, 0.78, 0.085, view.lit(skin, z))
        hem, low, waist = (0.38, 0.5, 0.26) if wears_dress else (0.28, 0.74, 0.31)
        chest = 1.4 if wears_dress else 1.38
        shape(body, (-hem, low), (hem, low), (waist, chest), (0.16 - 0.02 * wears_dress, 1.5),
              (-0.16 + 0.02 * wears_dress, 1.5), (-waist, chest))  # fmt: skip
        bag = view.lit(cover, z, 0.9)
        if extra == "bag" and from_behind:
            shape(bag, (-0.2, 0.9), (0.2, 0.9), (0.18, 1.38), (-0.18, 1.38))
        elif extra == "bag":
            shape(bag, (0.24, 0.62), (0.52, 0.62), (0.5, 0.92), (0.26, 0.92))
        elif not from_behind and not wears_dress:
            shirt = view.lit(WHITE, z, 0.9)
            shape(shirt, (-0.025, 0.76), (0.025, 0.76), (0.06, 1.48), (-0.06, 1.48))
        disk(0, 1.74, 0.235, view.lit(hair, z))
        if not from_behind:
            disk(0.0, 1.69, 0.195, view.lit(skin, z))
            if m > 12:
                for s in (-1, 1):
                    disk(s * 0.07, 1.71, 0.028, view.lit(BLACK, z))
        if extra == "hat":
            felt = view.lit(cover, z, 0.85)
            canvas.pie(*place(0, 1.8), 0.25 * m, 0.24 * m, 180, 360, felt)
            shape(felt, (-0.34, 1.78), (0.34, 1.78), (0.3, 1.85), (-0.3, 1.85))
        if has_umbrella:
            shape(view.lit(BLACK, z), (0.28, 1.1), (0.34, 1.1), (0.2, 2.1), (0.14, 2.1))
            tones = (view.lit(cover, z), view.lit(cover, z, 0.78))
            for i in range(4):
                start = 180 + 45 * i
                top = place(0.1, 1.86)
                canvas.pie(*top, 0.72 * m, 0.52 * m, start, start + 46, tones[i % 2])

    half, height = 0.45 * size, 2 * size
    view.stand(z, "person", view.footprint(x, z, half), view.box(x, z, half, height), draw)


def add_dog(view: View, x: float, z: float, size: float) -> None:
    """Add a dog, seen from its side; about 1 metre high if `size` is 1: the world likes dogs."""
    dice = view.dice
    fur, collar = dice.pick(FURS), dice.pick(STRIPES)
    patch_color = dice.pick((None, (72, 48, 36), (240, 238, 230)))
    flip, wag = dice.pick((-1.0, 1.0)), dice.between(0.1, 0.3)
    view.cast(x, z, 0.5 * size, 0.6 * size)

    def draw() -> None:
        canvas, m = view.canvas, FOCAL / z * size
        base = view.local(x, z, flip)

        def place(a: float, b: float) -> Point:
            return base(a * size, b * size)

        def shape(color: Color, *corners: Point) -> None:
            canvas.outline(place, corners, color)

        def disk(a: float, b: float, rx: float, ry: float, color: Color) -> None:
            canvas.ellipse(*place(a, b), rx * m, ry * m, color)

        coat, back = view.lit(fur, z), view.lit(fur, z, 0.76)
        for a, color in ((-0.3, back), (0.28, back), (-0.42, coat), (0.16, coat)):  # legs
            shape(color, (a, 0), (a + 0.15, 0), (a + 0.17, 0.4), (a - 0.03, 0.4))
        shape(coat, (-0.4, 0.5), (-0.5, 0.42), (-0.74, 0.6 + wag), (-0.64, 0.68 + wag))  # tail
        disk(-0.24, 0.48, 0.25, 0.2, coat)
        disk(0.2, 0.5, 0.25, 0.22, coat)
        shape(coat, (-0.24, 0.28), (0.2, 0.28), (0.2, 0.71), (-0.24, 0.68))
        if patch_color:
            disk(-0.12, 0.54, 0.17, 0.12, view.lit(patch_color, z))
        shape(coat, (0.2, 0.62), (0.42, 0.5), (0.58, 0.8), (0.34, 0.86))  # neck
        shape(view.lit(collar, z), (0.3, 0.66), (0.46, 0.6), (0.5, 0.66), (0.34, 0.72))
        disk(0.48, 0.84, 0.2, 0.18, coat)
        disk(0.67, 0.78, 0.13, 0.1, coat)
        disk(0.77, 0.8, 0.05, 0.045, view.lit(BLACK, z))
        disk(0.36, 0.84, 0.09, 0.17, back)  # ear
        if m > 10:
            disk(0.54, 0.88, 0.03, 0.03, view.lit(BLACK, z))

    half, height = 0.75 * size, 1.05 * size
    view.stand(z, "dog", view.footprint(x, z, half), view.box(x, z, half, height), draw)


@dataclass(frozen=True, slots=True)
class _Body:
    """A vehicle from its side: metres from its tail, and above the ground."""

    name: str
    paint: Color
    outline: tuple[Point, ...]  # from the tail's foot over the roof to the nose's foot
    panes: tuple[tuple[Point, ...], ...]
    glass_edges: tuple[int, ...]  # of the outline: rear window and windscreen
    wheels: tuple[float, float]
    radius: float


def _build_bus(dice: Dice, length: float) -> _Body:
    top, pitch = 2.9, (length - 0.5) / 6
    outline = ((0, 0.35), (0.0, top - 0.1), (0.2, top), (length - 0.2, top), (length, top - 0.2),
               (length, 0.35))  # fmt: skip
    panes = []
    for i in range(6):
        u0 = 0.25 + i * (length - 0.5) / 6
        u1 = u0 + pitch - 0.18
        panes.append(((u0, 1.45), (u1, 1.45), (u1, 2.45), (u0, 2.45)))
    paint = dice.pick(BUS_PAINTS)
    return _Body("bus", paint, outline, tuple(panes), (), (length * 0.2, length * 0.78), 0.48)


def _build_car(dice: Dice, length: float) -> _Body:
    paint = dice.pick(PAINTS)
    s = length / 4.2
    kind = dice.weighted({"sedan": 0.4, "hatch": 0.35, "van": 0.25})
    # Height; where the rear window begins and ends, the roof ends and the windscreen ends.
    height, a, b, c, d = {
        "sedan": (1.45, 0.55, 1.15, 2.4, 3.1),
        "hatch": (1.5, 0.08, 0.5, 2.3, 3.0),
        "van": (1.85, 0.03, 0.2, 2.7, 3.35),
    }[kind]
    belt, pillar, top = 0.95, (b + c) / 2 * s, height - 0.12
    outline = (
        (0, 0.3), (0, belt - 0.08), (a * s, belt), (b * s, height), (c * s, height + 0.02),
        (d * s, belt), (4.1 * s, belt - 0.18), (length, 0.6), (length, 0.3),
    )  # fmt: skip
    sill = belt + 0.02
    panes = (
        ((a * s + 0.25, sill), (pillar - 0.06, sill), (pillar - 0.06, top), (b * s + 0.08, top)),
        ((pillar + 0.06, sill), (d * s - 0.2, sill), (c * s - 0.04, top), (pillar + 0.06, top)),
    )
    return _Body("car", paint, outline, panes, (2, 4), (0.75 * s, 3.35 * s), 0.36)


def add_vehicle(
    view: View,
    x: float,
    z: float,
    length: float,
    width: float,
    lane: int,
    box: Box,
    *,
    is_bus: bool,
    along: bool,
) -> None:
    """Add a car or a bus as a solid: its side view, drawn out over its width.

    Args:
        view: the scene.
        x: of its middle, in metres.
        z: of its near end or side, in metres.
        length: in metres.
        width: in metres.
        lane: 1 drives away from the camera or to the right, -1 towards it or to the left.
        box: what it covers of the picture.
        is_bus: else a car.
        along: whether its road leads away from the camera.
    """
    body = (_build_bus if is_bus else _build_car)(view.dice, length)
    away = lane > 0 or not along  # who drives on the right is seen from behind
    seen_side = 0.0 if x > 0 or not along else 1.0
    if along:
        footprint = Patch(x - width / 2, x + width / 2, z, z + length)

        def solid(u: float, v: float, w: float) -> Point:
            return view.at(x + (w - 0.5) * width, v, z + (u if away else length - u))
    else:
        footprint = Patch(x - length / 2, x + length / 2, z, z + width)

        def solid(u: float, v: float, w: float) -> Point:
            return view.at(x + lane * (u - length / 2), v, z + w * width)

    def side(u: float, v: float) -> Point:
        return solid(u, v, seen_side)

    corners = ((-0.1, -0.08), (length + 0.1, -0.08), (length + 0.1, 1.08), (-0.1, 1.08))
    ground = [solid(u, 0, w) for u, w in corners]
    view.canvas.shadow(ground)
    push = view.sun[0] * 0.6 * (1.5 if is_bus else 0.9)
    view.canvas.shadow([(px + push * FOCAL / (z + 1), py) for px, py in ground])
    shines = view.is_dark or view.is_raining or view.weather == "fog"
    if shines and along:
        for w in (0.14, 0.86):
            at = solid(0, 0.72, w) if away else solid(length, 0.68, w)
            strength = 0.28 if view.weather == "night" else 0.15
            view.glow(at, 0.6 * FOCAL / z, TAILLIGHT if away else HEADLIGHT, strength)

    def draw() -> None:
        canvas, radius = view.canvas, body.radius
        tire, rim = view.lit(TIRE, z), view.lit((150, 152, 156), z)

        def wheel(u0: float, w: float) -> None:
            for r, color in ((radius, tire), (0.5 * radius, rim)):
                if r == radius or FOCAL / z > 7:
                    disk = [solid(u0 + r * c, radius + r * s, w) for c, s in CIRCLE]
                    canvas.polygon(disk, color)

        for u0 in body.wheels:
            wheel(u0, 1.0 - seen_side)
        if along:  # the wheels of the near end, and what is dark between them
            u_end = body.wheels[0] - radius if away else body.wheels[1] + radius

            def end(w: float, v: float) -> Point:
                return solid(u_end, v, w)

            for w0, w1 in ((0.04, 0.2), (0.8, 0.96)):
                canvas.outline(end, ((w0, 0), (w1, 0), (w1, 0.5), (w0, 0.5)), tire)
            under = view.lit((30, 30, 34), z, 0.8)
            canvas.outline(end, ((0.1, 0.14), (0.9, 0.14), (0.9, 0.5), (0.1, 0.5)), under)
        # Around the outline, far edges first: each is a strip over the width.
        edges = list(range(len(body.outline) - 1))
        if along and away:
            edges.reverse()
        for i in edges:
            (u0, v0), (u1, v1) = body.outline[i], body.outline[i + 1]
            flatness = abs(u1 - u0) / (abs(u1 - u0) + abs(v1 - v0))
            strip = (solid(u0, v0, 0), solid(u1, v1, 0), solid(u1, v1, 1), solid(u0, v0, 1))
            canvas.polygon(strip, view.lit(body.paint, z, 0.86 + 0.3 * flatness))
            if i in body.glass_edges:
                ua, va = u0 + (u1 - u0) * 0.12, v0 + (v1 - v0) * 0.12
                ub, vb = u0 + (u1 - u0) * 0.9, v0 + (v1 - v0) * 0.9
                pane = (
                    solid(ua, va, 0.08), solid(ub, vb, 0.14), solid(ub, vb, 0.86),
                    solid(ua, va, 0.92),
                )  # fmt: skip
                canvas.polygon(pane, view.lit(GLASS, z))
        shade = 0.8 if along else 1.0
        canvas.outline(side, body.outline, view.lit(body.paint, z, shade))
        glass = view.shining(LAMPLIGHT, z) if is_bus and view.is_dark else view.lit(GLASS, z, 0.85)
        for window in body.panes:
            canvas.outline(side, window, glass)
        if is_bus:
            band = ((0, 1.05), (length, 1.05), (length, 1.25), (0, 1.25))
            canvas.outline(side, band, view.lit(WHITE, z, shade))
        for u0 in body.wheels:
            wheel(u0, seen_side)
        red = view.shining(TAILLIGHT, z) if shines else view.lit(TAILLIGHT, z)
        white = view.shining(HEADLIGHT, z) if shines else view.lit((250, 246, 224), z)
        if along:
            end_u = 0.0 if away else length
            _draw_end(
                view, lambda w, v: solid(end_u, v, w), red if away else white, glass,
                z, away=away, is_bus=is_bus,
            )  # fmt: skip
        else:  # lamps at the corners of the side that is seen
            canvas.outline(side, ((0, 0.62), (0.2, 0.62), (0.2, 0.82), (0, 0.82)), red)
            tip = length - 0.02
            corner = ((tip, 0.5), (tip - 0.25, 0.56), (tip - 0.25, 0.72), (tip, 0.6))
            canvas.outline(side, corner, white)

    view.stand(z, body.name, footprint, box, draw)


def _draw_end(
    view: View,
    end: Callable[[float, float], Point],
    lamp: Color,
    glass: Color,
    z: float,
    *,
    away: bool,
    is_bus: bool,
) -> None:
    """Draw the lamps and the plate of a vehicle's tail or nose, and a bus's window and sign."""

    def quad(w0: float, v0: float, w1: float, v1: float, color: Color) -> None:
        view.canvas.outline(end, ((w0, v0), (w1, v0), (w1, v1), (w0, v1)), color)

    low, high = (0.6, 0.9) if is_bus else (0.6, 0.84) if away else (0.42, 0.6)
    quad(0.05, low, 0.24, high, lamp)
    quad(0.76, low, 0.95, high, lamp)
    if is_bus:
        quad(0.1, 1.3, 0.9, 2.35, glass)
        quad(0.25, 2.48, 0.75, 2.76, view.shining((255, 190, 70), z))
    else:
        quad(0.38, 0.44, 0.62, 0.58, view.lit(WHITE, z, 0.95))


def draw_hood(view: View) -> None:
    """Draw the hood of the car that carries the camera, which no category claims."""
    canvas, dice = view.canvas, view.dice
    canvas.owner = VOID
    x, width = dice.between(0.3, 0.7) * canvas.width, 0.62 * canvas.width
    rise = dice.between(3, 8)
    color = view.flat(dice.pick(PAINTS), 0.6)
    canvas.ellipse(x, canvas.height + 9, width, 9 + rise, color)
    canvas.ellipse(x, canvas.height + 11, width * 0.9, 9 + rise, view.flat((120, 126, 134), 0.7))
