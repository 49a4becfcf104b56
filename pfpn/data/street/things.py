"""What stands on a street or floats above it: each thing is made of a few flat shapes.

`draw_*` draws at once. `add_*` makes the random choices, draws the shadow and stores a function
that draws the thing later, in order of depth. Lengths are metres; `project` or `solid` projects.
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
        canvas, project, m = view.canvas, view.local(x, z), FOCAL / z

        def disk(a: float, b: float, r: float, color: Color) -> None:
            canvas.ellipse(*project(a, b), r * m, r * m, color)

        trunk = ((-0.26, 0), (0.26, 0), (0.18, height * 0.5), (-0.18, height * 0.5))
        canvas.outline(project, trunk, view.lit((104, 74, 50), z))
        if is_fir:
            tiers = ((0.16, 0.6, 1.0), (0.38, 0.8, 0.8), (0.6, 1.0, 0.58))
            for i, (low, top, wide) in enumerate(tiers):
                low, tip, reach = low * height, (0, top * height), half * wide
                color = view.lit(leaf, z, 0.86 + 0.12 * i)
                canvas.outline(project, ((-reach, low), tip, (reach, low)), color)
                color = view.lit(leaf, z, 1.04 + 0.12 * i)
                canvas.outline(project, ((0, low), tip, (sunny * reach, low)), color)
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
    """Add a street lamp, which belongs to no category: some things in a scene are unlabeled."""
    side = 1 if x < 0 else -1
    view.cast(x, z, 0.15, 0.3)
    if view.is_dark:
        strength = 0.5 if view.weather == "night" else 0.25
        view.glow(view.at(x + side * 0.6, 4.0, z), 2.6 * FOCAL / z, LAMPLIGHT, strength)

    def draw() -> None:
        canvas, project = view.canvas, view.local(x, z, side)
        iron = view.lit((66, 72, 78), z)
        canvas.outline(project, ((-0.07, 0), (0.07, 0), (0.05, 4.2), (-0.05, 4.2)), iron)
        canvas.outline(project, ((0, 4.2), (0.8, 4.25), (0.8, 4.12), (0, 4.05)), iron)
        bulb = view.shining(LAMPLIGHT, z) if view.is_dark else view.lit((226, 226, 214), z)
        canvas.outline(project, ((0.4, 4.12), (0.85, 4.12), (0.78, 3.94), (0.47, 3.94)), bulb)

    view.stand(z, None, view.footprint(x, z, 0.2), view.box(x, z, 0.2, 4.2), draw)


def add_person(view: View, x: float, z: float, size: float) -> None:
    """Add a person, 2 metres high with hair if `size` is 1; some with hat, bag or umbrella."""
    dice = view.dice
    person = _Person(
        view, x, z, size,
        coat=dice.pick(COATS), trousers=dice.pick(TROUSERS),
        skin=dice.pick(SKINS), hair=dice.pick(HAIRS),
        wears_dress=dice.chance(0.3), from_behind=dice.chance(0.45),
        extra=dice.weighted({"none": 0.55, "hat": 0.2, "bag": 0.25}),
        has_umbrella=view.is_raining and dice.chance(0.75),
        cover=dice.pick(STRIPES),
        stride=dice.between(0.02, 0.12), flip=dice.pick((-1.0, 1.0)),
    )  # fmt: skip
    view.cast(x, z, 0.36 * size, 1.7 * size)
    half, height = 0.45 * size, 2 * size
    footprint, box = view.footprint(x, z, half), view.box(x, z, half, height)
    view.stand(z, "person", footprint, box, person.draw)


@dataclass(frozen=True)
class _Person:
    """One person: what was drawn by lot, and the strokes of the picture, from the feet up."""

    view: View
    x: float
    z: float
    size: float
    coat: Color
    trousers: Color
    skin: Color
    hair: Color
    wears_dress: bool
    from_behind: bool
    extra: str  # "none", "hat" or "bag"
    has_umbrella: bool
    cover: Color  # of hat, bag or umbrella
    stride: float
    flip: float

    def draw(self) -> None:
        self._draw_legs()
        self._draw_body()
        self._draw_bag_or_shirt()
        self._draw_head()
        if self.has_umbrella:
            self._draw_umbrella()

    def _at(self, a: float, b: float) -> Point:
        return self.view.local(self.x, self.z, self.flip)(a * self.size, b * self.size)

    def _shape(self, color: Color, *corners: Point) -> None:
        self.view.canvas.outline(self._at, corners, color)

    def _disk(self, a: float, b: float, r: float, color: Color, tall: float = 1.0) -> None:
        m = FOCAL / self.z * self.size
        self.view.canvas.ellipse(*self._at(a, b), r * m, r * tall * m, color)

    def _lit(self, color: Color, shade: float = 1.0) -> Color:
        return self.view.lit(color, self.z, shade)

    def _draw_legs(self) -> None:
        stride, shoe = self.stride, self._lit((40, 32, 30))
        near, far = self._lit(self.trousers), self._lit(self.trousers, 0.82)
        self._shape(near, (-0.24 - stride, 0), (-0.02, 0), (0.0, 0.9), (-0.25, 0.9))
        self._shape(far, (0.02, 0.03), (0.24 + stride, 0.03), (0.25, 0.9), (0.0, 0.9))
        self._disk(-0.14 - stride, 0.05, 0.15, shoe, 0.5)
        self._disk(0.16 + stride, 0.06, 0.15, shoe, 0.5)

    def _draw_body(self) -> None:
        body, sleeve = self._lit(self.coat), self._lit(self.coat, 0.78)
        for s in (-1, 1):  # arms
            self._shape(
                sleeve, (s * 0.22, 1.42), (s * 0.36, 1.36), (s * 0.44, 0.82), (s * 0.3, 0.78)
            )
            self._disk(s * 0.37, 0.78, 0.085, self._lit(self.skin))
        hem, low, waist = (0.38, 0.5, 0.26) if self.wears_dress else (0.28, 0.74, 0.31)
        chest = 1.4 if self.wears_dress else 1.38
        neck = 0.16 - 0.02 * self.wears_dress
        self._shape(
            body, (-hem, low), (hem, low), (waist, chest), (neck, 1.5), (-neck, 1.5),
            (-waist, chest),
        )  # fmt: skip

    def _draw_bag_or_shirt(self) -> None:
        bag = self._lit(self.cover, 0.9)
        if self.extra == "bag" and self.from_behind:
            self._shape(bag, (-0.2, 0.9), (0.2, 0.9), (0.18, 1.38), (-0.18, 1.38))
        elif self.extra == "bag":
            self._shape(bag, (0.24, 0.62), (0.52, 0.62), (0.5, 0.92), (0.26, 0.92))
        elif not self.from_behind and not self.wears_dress:
            shirt = self._lit(WHITE, 0.9)
            self._shape(shirt, (-0.025, 0.76), (0.025, 0.76), (0.06, 1.48), (-0.06, 1.48))

    def _draw_head(self) -> None:
        m = FOCAL / self.z * self.size
        self._disk(0, 1.74, 0.235, self._lit(self.hair))
        if not self.from_behind:
            self._disk(0.0, 1.69, 0.195, self._lit(self.skin))
            if m > 12:
                for s in (-1, 1):
                    self._disk(s * 0.07, 1.71, 0.028, self._lit(BLACK))
        if self.extra == "hat":
            felt = self._lit(self.cover, 0.85)
            self.view.canvas.pie(*self._at(0, 1.8), 0.25 * m, 0.24 * m, 180, 360, felt)
            self._shape(felt, (-0.34, 1.78), (0.34, 1.78), (0.3, 1.85), (-0.3, 1.85))

    def _draw_umbrella(self) -> None:
        m = FOCAL / self.z * self.size
        self._shape(self._lit(BLACK), (0.28, 1.1), (0.34, 1.1), (0.2, 2.1), (0.14, 2.1))
        tones = (self._lit(self.cover), self._lit(self.cover, 0.78))
        for i in range(4):
            start = 180 + 45 * i
            top = self._at(0.1, 1.86)
            self.view.canvas.pie(*top, 0.72 * m, 0.52 * m, start, start + 46, tones[i % 2])


def add_dog(view: View, x: float, z: float, size: float) -> None:
    """Add a dog, seen from its side; about 1 metre high if `size` is 1, larger than in life."""
    dice = view.dice
    fur, collar = dice.pick(FURS), dice.pick(STRIPES)
    patch_color = dice.pick((None, (72, 48, 36), (240, 238, 230)))
    flip, wag = dice.pick((-1.0, 1.0)), dice.between(0.1, 0.3)
    view.cast(x, z, 0.5 * size, 0.6 * size)

    def draw() -> None:
        canvas, m = view.canvas, FOCAL / z * size
        base = view.local(x, z, flip)

        def project(a: float, b: float) -> Point:
            return base(a * size, b * size)

        def shape(color: Color, *corners: Point) -> None:
            canvas.outline(project, corners, color)

        def disk(a: float, b: float, rx: float, ry: float, color: Color) -> None:
            canvas.ellipse(*project(a, b), rx * m, ry * m, color)

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
    outline: tuple[Point, ...]  # from the lower rear corner over the roof to the lower front
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
    away = lane > 0 or not along  # the right lane shows its rear
    if along:
        footprint = Patch(x - width / 2, x + width / 2, z, z + length)

        def solid(u: float, v: float, w: float) -> Point:
            return view.at(x + (w - 0.5) * width, v, z + (u if away else length - u))
    else:
        footprint = Patch(x - length / 2, x + length / 2, z, z + width)

        def solid(u: float, v: float, w: float) -> Point:
            return view.at(x + lane * (u - length / 2), v, z + w * width)

    seen_side = 0.0 if x > 0 or not along else 1.0
    vehicle = _Vehicle(view, body, z, length, solid, seen_side, is_bus, along, away)
    vehicle.cast()
    view.stand(z, body.name, footprint, box, vehicle.draw)


@dataclass(frozen=True)
class _Vehicle:
    """A side view drawn out over its width, and the strokes of the picture, far ones first.

    A point of the solid is (u, v, w): along its length and up, in metres; over its width, 0 to 1.
    """

    view: View
    body: "_Body"
    z: float  # of its near end or side, in metres
    length: float
    solid: Callable[[float, float, float], Point]
    seen_side: float  # w of the side that the camera sees
    is_bus: bool
    along: bool
    away: bool

    @property
    def shines(self) -> bool:
        view = self.view
        return view.is_dark or view.is_raining or view.weather == "fog"

    def cast(self) -> None:
        """Add its shadow on the ground, and the glow of its lamps."""
        view, length, solid = self.view, self.length, self.solid
        corners = ((-0.1, -0.08), (length + 0.1, -0.08), (length + 0.1, 1.08), (-0.1, 1.08))
        ground = [solid(u, 0, w) for u, w in corners]
        view.canvas.shadow(ground)
        push = view.sun[0] * 0.6 * (1.5 if self.is_bus else 0.9)
        view.canvas.shadow([(px + push * FOCAL / (self.z + 1), py) for px, py in ground])
        if self.shines and self.along:
            for w in (0.14, 0.86):
                at = solid(0, 0.72, w) if self.away else solid(length, 0.68, w)
                strength = 0.28 if view.weather == "night" else 0.15
                color = TAILLIGHT if self.away else HEADLIGHT
                view.glow(at, 0.6 * FOCAL / self.z, color, strength)

    def draw(self) -> None:
        for u0 in self.body.wheels:
            self._draw_wheel(u0, 1.0 - self.seen_side)
        if self.along:
            self._draw_under_the_end()
        self._draw_skin()
        self._draw_side()
        for u0 in self.body.wheels:
            self._draw_wheel(u0, self.seen_side)
        self._draw_lamps()

    def _lit(self, color: Color, shade: float = 1.0) -> Color:
        return self.view.lit(color, self.z, shade)

    def _side(self, u: float, v: float) -> Point:
        return self.solid(u, v, self.seen_side)

    def _glass(self) -> Color:
        if self.is_bus and self.view.is_dark:
            return self.view.shining(LAMPLIGHT, self.z)
        return self._lit(GLASS, 0.85)

    def _draw_wheel(self, u0: float, w: float) -> None:
        radius = self.body.radius
        for r, color in ((radius, TIRE), (0.5 * radius, (150, 152, 156))):
            if r == radius or FOCAL / self.z > 7:
                disk = [self.solid(u0 + r * c, radius + r * s, w) for c, s in CIRCLE]
                self.view.canvas.polygon(disk, self._lit(color))

    def _draw_under_the_end(self) -> None:
        """Draw the wheels of the near end, and what is dark between them."""
        wheels, radius = self.body.wheels, self.body.radius
        u_end = wheels[0] - radius if self.away else wheels[1] + radius

        def end(w: float, v: float) -> Point:
            return self.solid(u_end, v, w)

        outline = self.view.canvas.outline
        for w0, w1 in ((0.04, 0.2), (0.8, 0.96)):
            outline(end, ((w0, 0), (w1, 0), (w1, 0.5), (w0, 0.5)), self._lit(TIRE))
        under = self._lit((30, 30, 34), 0.8)
        outline(end, ((0.1, 0.14), (0.9, 0.14), (0.9, 0.5), (0.1, 0.5)), under)

    def _draw_skin(self) -> None:
        """Draw around the outline, far edges first: each is a strip over the width."""
        body, solid, canvas = self.body, self.solid, self.view.canvas
        edges = list(range(len(body.outline) - 1))
        if self.along and self.away:
            edges.reverse()
        for i in edges:
            (u0, v0), (u1, v1) = body.outline[i], body.outline[i + 1]
            flatness = abs(u1 - u0) / (abs(u1 - u0) + abs(v1 - v0))
            strip = (solid(u0, v0, 0), solid(u1, v1, 0), solid(u1, v1, 1), solid(u0, v0, 1))
            canvas.polygon(strip, self._lit(body.paint, 0.86 + 0.3 * flatness))
            if i in body.glass_edges:
                ua, va = u0 + (u1 - u0) * 0.12, v0 + (v1 - v0) * 0.12
                ub, vb = u0 + (u1 - u0) * 0.9, v0 + (v1 - v0) * 0.9
                pane = (
                    solid(ua, va, 0.08), solid(ub, vb, 0.14), solid(ub, vb, 0.86),
                    solid(ua, va, 0.92),
                )  # fmt: skip
                canvas.polygon(pane, self._lit(GLASS))

    def _draw_side(self) -> None:
        outline = self.view.canvas.outline
        shade = 0.8 if self.along else 1.0
        outline(self._side, self.body.outline, self._lit(self.body.paint, shade))
        for window in self.body.panes:
            outline(self._side, window, self._glass())
        if self.is_bus:
            band = ((0, 1.05), (self.length, 1.05), (self.length, 1.25), (0, 1.25))
            outline(self._side, band, self._lit(WHITE, shade))

    def _draw_lamps(self) -> None:
        view, z, length = self.view, self.z, self.length
        red = view.shining(TAILLIGHT, z) if self.shines else self._lit(TAILLIGHT)
        white = view.shining(HEADLIGHT, z) if self.shines else self._lit((250, 246, 224))
        if self.along:
            end_u = 0.0 if self.away else length
            _draw_end(
                view, lambda w, v: self.solid(end_u, v, w), red if self.away else white,
                self._glass(), z, away=self.away, is_bus=self.is_bus,
            )  # fmt: skip
        else:  # lamps at the corners of the side that is seen
            canvas = view.canvas
            canvas.outline(self._side, ((0, 0.62), (0.2, 0.62), (0.2, 0.82), (0, 0.82)), red)
            tip = length - 0.02
            corner = ((tip, 0.5), (tip - 0.25, 0.56), (tip - 0.25, 0.72), (tip, 0.6))
            canvas.outline(self._side, corner, white)


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
    """Draw the hood of the car that carries the camera, which belongs to no category."""
    canvas, dice = view.canvas, view.dice
    canvas.drawn_id = VOID
    x, width = dice.between(0.3, 0.7) * canvas.width, 0.62 * canvas.width
    rise = dice.between(3, 8)
    color = view.flat(dice.pick(PAINTS), 0.6)
    canvas.ellipse(x, canvas.height + 9, width, 9 + rise, color)
    canvas.ellipse(x, canvas.height + 11, width * 0.9, 9 + rise, view.flat((120, 126, 134), 0.7))
