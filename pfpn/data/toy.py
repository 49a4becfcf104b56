"""A street world drawn by a program: real enough to be learned from, small enough for a laptop.

Every scene is a pinhole camera's view of a flat ground with houses, trees, people, dogs, cars and
buses on it and now and then a balloon above it, by day, at dusk, at night, in rain or fog. What is
nearer is drawn later, in the picture and in the truth by the same call, so the truth is exact.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pfpn.structures import VOID, Category, Panoptic, Sample, Segment, stuff, things

# Figures use these colors: 23 or more apart in CIELAB also for eyes that lack one kind of cone.
TOY_CATEGORIES = (
    Category(1, "person", True, (202, 76, 0)),
    Category(2, "dog", True, (94, 16, 1)),
    Category(3, "car", True, (0, 124, 215)),
    Category(4, "bus", True, (240, 200, 30)),
    Category(5, "tree", True, (34, 95, 63)),
    Category(6, "balloon", True, (201, 106, 174)),
    Category(21, "sky", False, (147, 227, 246)),
    Category(22, "building", False, (169, 141, 131)),
    Category(23, "road", False, (84, 71, 99)),
    Category(24, "sidewalk", False, (222, 217, 185)),
    Category(25, "grass", False, (132, 175, 92)),
)
REFERENCE_SIZE = (128, 192)  # a scene is laid out in units that are pixels at this size
MAX_HIDDEN = 0.5  # of a thing's box that one nearer thing's box may cover
MIN_PIXELS = 20  # a thing with fewer visible pixels at the reference size becomes void
MIN_STUFF_PIXELS = 64  # and so does stuff with fewer than these
OVERSAMPLING = 2  # drawn pixels per side of a final one

Color = tuple[int, int, int]
Point = tuple[float, float]  # x, y in units
_Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in units
Place = Callable[[float, float], Point]  # metres right of and above a thing's foot, to x, y

FOCAL = 150.0  # units; the picture of 1 metre at a depth of Z metres is FOCAL / Z units high
NEAREST = 2.0  # metres; the ground nearer than this is below every picture
FARTHEST = 150.0  # metres; what is behind is a line on the horizon

# Ids while drawing: VOID, the stuff classes, then one for each thing.
SKY, BUILDING, ROAD, SIDEWALK, GRASS = 1, 2, 3, 4, 5
FIRST_THING = 6
STUFF_NAMES = {SKY: "sky", BUILDING: "building", ROAD: "road", SIDEWALK: "sidewalk", GRASS: "grass"}


@dataclass(frozen=True, slots=True)
class Mood:
    """Weather and time of day: how a scene is lit."""

    weight: float  # share of the scenes
    zenith: Color
    horizon: Color
    light: tuple[float, float, float]  # factor on every color that does not shine by itself
    haze: float  # metres at which half of a color is that of the horizon
    shadow: float  # share of the light that a shadow takes
    lit: float  # share of the windows that shine
    clouds: int  # at most


MOODS = {
    "day": Mood(0.48, (74, 144, 217), (190, 221, 242), (1.0, 1.0, 1.0), 300, 0.36, 0.0, 6),
    "overcast": Mood(0.15, (146, 163, 186), (198, 210, 222), (0.88, 0.89, 0.92), 220, 0.2, 0.03, 8),
    "dusk": Mood(0.15, (84, 72, 140), (255, 176, 110), (1.0, 0.84, 0.76), 260, 0.32, 0.35, 5),
    "night": Mood(0.09, (8, 12, 36), (34, 42, 80), (0.6, 0.62, 0.8), 300, 0.22, 0.55, 2),
    "rain": Mood(0.07, (104, 118, 138), (164, 176, 188), (0.76, 0.78, 0.82), 150, 0.12, 0.15, 6),
    "fog": Mood(0.06, (196, 204, 212), (218, 223, 228), (0.94, 0.94, 0.95), 60, 0.08, 0.05, 0),
}

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
    (40, 28, 22),
    (92, 58, 32),
    (196, 150, 78),
    (150, 150, 150),
    (24, 22, 24),
)
FURS: tuple[Color, ...] = (
    (150, 98, 52),
    (60, 46, 40),
    (226, 204, 164),
    (238, 236, 230),
    (190, 130, 66),
)
LEAVES: tuple[Color, ...] = (
    (52, 112, 50), (38, 96, 60), (70, 122, 44), (46, 104, 44), (196, 110, 38), (214, 150, 44),
    (170, 66, 48), (226, 150, 176),
)  # fmt: skip
NEEDLES: tuple[Color, ...] = ((28, 84, 62), (34, 92, 52), (44, 88, 80))
WALLS: tuple[Color, ...] = (
    (178, 92, 74), (196, 120, 88), (214, 178, 130), (222, 200, 160), (150, 100, 82), (162, 84, 78),
    (206, 150, 108), (232, 192, 148), (188, 138, 110), (216, 164, 142),
)  # fmt: skip
ROOFS: tuple[Color, ...] = ((132, 62, 48), (96, 70, 60), (84, 88, 98), (158, 84, 58), (70, 74, 82))
STRIPES: tuple[Color, ...] = (
    (222, 60, 60), (250, 200, 60), (60, 130, 200), (250, 246, 236), (120, 70, 160), (60, 160, 120),
    (240, 130, 60), (236, 110, 160),
)  # fmt: skip
BLACK, WHITE, GLASS, TIRE = (24, 24, 28), (245, 245, 240), (92, 122, 146), (34, 34, 38)
LAMPLIGHT, HEADLIGHT, TAILLIGHT = (255, 214, 130), (255, 246, 206), (224, 40, 44)

# A circle's points, so that shadows and wheels can be drawn in perspective.
CIRCLE = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.arange(12) * (np.pi / 6))


@dataclass(frozen=True)
class ToyStreet:
    """Drawn street scenes with exact panoptic truth; scene i depends on (seed, i, size) only.

    Args:
        num: scenes in this data set.
        seed: of the world.
        size: (height, width) of an image in pixels. Other sizes with the same ratio show the same
            scenes, finer or coarser.
        first: number of the first scene, so that two data sets of a seed need not share any.
    """

    num: int
    seed: int = 0
    size: tuple[int, int] = REFERENCE_SIZE
    first: int = 0

    def __post_init__(self) -> None:
        if min(self.num, self.seed, self.first) < 0:
            raise ValueError(
                f"ToyStreet: found num {self.num}, seed {self.seed} and first {self.first}, "
                "expected numbers from 0 up"
            )
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(
                f"ToyStreet: found size {self.size}, expected (height, width) of 1 pixel or more"
            )

    @property
    def categories(self) -> Sequence[Category]:
        """The classes: six things, five stuff."""
        return TOY_CATEGORIES

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Sample:
        if not -self.num <= index < self.num:
            raise IndexError(f"ToyStreet: found index {index}, expected one below {self.num}")
        number = self.first + index % self.num
        return draw_scene(self.seed, number, self.size)

    def sizes(self) -> Sequence[tuple[int, int]]:
        """Return (height, width) of every image without drawing any."""
        return [self.size] * self.num


def draw_scene(seed: int, number: int, size: tuple[int, int] = REFERENCE_SIZE) -> Sample:
    """Draw one scene with its truth: a pure function of its arguments."""
    dice = _Dice(seed, number)
    canvas = _Canvas(size)
    scene = _Scene(canvas, dice)
    scene.draw()
    image, ids = canvas.finish(scene, np.random.Generator(np.random.PCG64([seed, number, 1])))
    return Sample(torch.from_numpy(image), _truth(ids, scene.names, canvas.scale**2), number)


def _truth(ids: np.ndarray, names: Sequence[str], area: float) -> Panoptic:
    """Turn the ids of drawing into segments 1, 2, ...; what is hardly seen becomes void.

    `area` is that of a square unit in pixels.
    """
    thing_labels = {c.name: label for label, c in enumerate(things(TOY_CATEGORIES))}
    stuff_labels = {c.name: label for label, c in enumerate(stuff(TOY_CATEGORIES), start=1)}
    new_ids = np.zeros(256, np.int64)
    segments: list[Segment] = []
    for drawn_id, count in enumerate(np.bincount(ids.ravel(), minlength=256).tolist()):
        is_thing = drawn_id >= FIRST_THING
        least = area * (MIN_PIXELS if is_thing else MIN_STUFF_PIXELS)
        if drawn_id == VOID or count == 0 or count < least:
            continue
        new_ids[drawn_id] = len(segments) + 1
        if is_thing:
            label = thing_labels[names[drawn_id - FIRST_THING]]
        else:
            label = stuff_labels[STUFF_NAMES[drawn_id]]
        segments.append(Segment(len(segments) + 1, label, is_thing))
    return Panoptic(torch.from_numpy(new_ids[ids]), tuple(segments))


class _Dice:
    """Random choices of one scene."""

    def __init__(self, seed: int, number: int):
        self._rng = np.random.Generator(np.random.PCG64([seed, number]))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._rng.random())

    def chance(self, share: float) -> bool:
        return float(self._rng.random()) < share

    def count(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(float(self._rng.random()) * (high - low + 1))

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(float(self._rng.random()) * len(choices))]

    def weighted(self, weights: dict[str, float]) -> str:
        left = float(self._rng.random()) * sum(weights.values())
        for name, weight in weights.items():
            left -= weight
            if left < 0:
                return name
        return name


class _Canvas:
    """A picture and its id map, drawn by the same calls at twice the final size.

    Lengths are in units. A picture of any size holds as many square units as the reference size has
    pixels, so that a scene has the same number of things at any size.
    """

    def __init__(self, size: tuple[int, int]):
        from PIL import Image, ImageDraw

        height, width = size
        self.size = size
        self.scale = (height * width / (REFERENCE_SIZE[0] * REFERENCE_SIZE[1])) ** 0.5
        self.height, self.width = height / self.scale, width / self.scale
        self._factor = self.scale * OVERSAMPLING
        fine = (width * OVERSAMPLING, height * OVERSAMPLING)
        self.image = Image.new("RGB", fine)
        self.ids = Image.new("L", fine)
        self.shadows = Image.new("L", fine)
        self._draw, self._mark = ImageDraw.Draw(self.image), ImageDraw.Draw(self.ids)
        self._shade = ImageDraw.Draw(self.shadows)
        self.owner = VOID  # whose pixels are drawn

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        f = self._factor
        corners = [(x * f, y * f) for x, y in points]
        self._draw.polygon(corners, fill=color)
        self._mark.polygon(corners, fill=self.owner)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        f = self._factor
        box = ((x - rx) * f, (y - ry) * f, (x + rx) * f, (y + ry) * f)
        self._draw.ellipse(box, fill=color)
        self._mark.ellipse(box, fill=self.owner)

    def pie(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, color: Color
    ) -> None:
        """A part of an ellipse, from `start` to `end` degrees clockwise from the right."""
        f = self._factor
        box = ((x - rx) * f, (y - ry) * f, (x + rx) * f, (y + ry) * f)
        self._draw.pieslice(box, start, end, fill=color)
        self._mark.pieslice(box, start, end, fill=self.owner)

    def shadow(self, points: Sequence[Point]) -> None:
        f = self._factor
        self._shade.polygon([(x * f, y * f) for x, y in points], fill=255)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)

    def ground(self, scene: "_Scene", noise: np.random.Generator) -> None:
        """Give what was drawn so far its grain, and the ground its haze and shadows."""
        from PIL import Image, ImageDraw

        ids = np.asarray(self.ids)
        pixels = np.asarray(self.image).astype(np.int16)
        rows, columns = ids.shape
        fine = noise.integers(-8, 9, (rows, columns), dtype=np.int16)
        coarse_size = (rows // 8 + 2, columns // 12 + 2)
        coarse = Image.fromarray(noise.integers(0, 256, coarse_size, dtype=np.uint8))
        patches = np.asarray(coarse.resize((columns, rows), Image.Resampling.BILINEAR))
        patches = (patches.astype(np.int16) - 128) >> 3
        pixels += ((fine * FINE_GRAIN[ids] + patches * COARSE_GRAIN[ids]) >> 3)[:, :, None]

        for glow in scene.sky_glows:
            _add_glow(pixels, glow, self._factor, ids == SKY)

        is_ground = (ids >= ROAD) & (ids <= GRASS)
        below = (np.arange(rows) + 0.5) / self._factor - scene.horizon
        depth = FOCAL * scene.camera / np.maximum(below, FOCAL * scene.camera / FARTHEST)
        keep = np.round(256 * scene.mood.haze / (scene.mood.haze + depth)).astype(np.int32)
        light = np.where(
            (np.asarray(self.shadows) > 0) & is_ground, round(256 * (1 - scene.mood.shadow)), 256
        )
        keep_ground = np.where(is_ground, keep[:, None], 256)
        haze = np.asarray(scene.mood.horizon, np.int32)
        mixed = pixels * ((keep_ground * light) >> 8)[:, :, None]
        mixed += (256 - keep_ground)[:, :, None] * haze
        self.image = Image.fromarray(np.clip(mixed >> 8, 0, 255).astype(np.uint8))
        self._draw = ImageDraw.Draw(self.image)

    def finish(self, scene: "_Scene", noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture (3, h, w) and the id of each pixel (h, w)."""
        fine = np.asarray(self.image).astype(np.int16)
        pixels = fine[0::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 0::2] + fine[1::2, 1::2] + 2 >> 2
        height, width = self.size
        for glow in scene.glows:
            _add_glow(pixels, glow, self.scale)
        if scene.is_raining:
            pixels += self._rain(noise)[:, :, None]
        pixels += noise.integers(-3, 4, (height, width, 3), dtype=np.int16)
        image = np.clip(pixels, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image.transpose(2, 0, 1)), _vote(np.asarray(self.ids))

    def _rain(self, noise: np.random.Generator) -> np.ndarray:
        from PIL import Image, ImageDraw

        height, width = self.size
        streaks = Image.new("L", (width, height))
        draw = ImageDraw.Draw(streaks)
        length = 9 * self.scale
        for u, v, strength in noise.random((110, 3)).tolist():
            x, y = u * 1.1 * width, v * 1.1 * height - length
            draw.line((x, y, x - 0.3 * length, y + length), fill=18 + int(30 * strength))
        return np.asarray(streaks).astype(np.int16)


# How much of the noise a class takes, in eighths; by the id of drawing.
FINE_GRAIN, COARSE_GRAIN = np.zeros(256, np.int16), np.zeros(256, np.int16)
FINE_GRAIN[[SKY, BUILDING, ROAD, SIDEWALK, GRASS]] = 1, 5, 6, 5, 14
COARSE_GRAIN[[SKY, BUILDING, ROAD, SIDEWALK, GRASS]] = 1, 2, 3, 2, 8


def _add_glow(
    pixels: np.ndarray,
    glow: tuple[float, float, float, Color],
    scale: float,
    where: np.ndarray | None = None,
) -> None:
    """Add light around a point: glow is (x, y, radius, color) in units, scale pixels per unit."""
    x, y, radius = (scale * value for value in glow[:3])
    height, width = pixels.shape[:2]
    top, bottom = max(0, int(y - radius)), min(height, int(y + radius) + 1)
    left, right = max(0, int(x - radius)), min(width, int(x + radius) + 1)
    if top >= bottom or left >= right or radius < 1:
        return
    dy = (np.arange(top, bottom) + 0.5 - y) / radius
    dx = (np.arange(left, right) + 0.5 - x) / radius
    near = np.maximum(0, 1 - dy[:, None] ** 2 - dx[None] ** 2) ** 2
    if where is not None:
        near *= where[top:bottom, left:right]
    light = np.round(near[:, :, None] * np.asarray(glow[3]))
    pixels[top:bottom, left:right] += light.astype(np.int16)


def _vote(ids: np.ndarray) -> np.ndarray:
    """Give a pixel the id that most of its four drawn pixels have; in a tie the highest one."""
    four = np.stack([ids[0::2, 0::2], ids[0::2, 1::2], ids[1::2, 0::2], ids[1::2, 1::2]])
    low01, high01 = np.minimum(four[0], four[1]), np.maximum(four[0], four[1])
    low23, high23 = np.minimum(four[2], four[3]), np.maximum(four[2], four[3])
    middle = np.minimum(high01, high23), np.maximum(low01, low23)
    lowest, highest = np.minimum(low01, low23), np.maximum(high01, high23)
    second, third = np.minimum(*middle), np.maximum(*middle)
    # Sorted, a majority holds the middle; two pairs, or four different ones, go to the highest.
    return np.where(
        second == third, second, np.where((lowest == second) & (third != highest), lowest, highest)
    )


@dataclass(frozen=True, slots=True)
class _Patch:
    """A rectangle of the ground, in metres: across, and ahead of the camera."""

    x0: float
    x1: float
    z0: float
    z1: float


@dataclass(slots=True)
class _Item:
    """Something that stands on the ground, to be drawn when its depth comes."""

    z: float
    name: str | None  # of its thing category; None is void
    draw: Callable[[], None]
    footprint: _Patch
    box: _Box  # about what it covers of the picture


@dataclass
class _Scene:
    """Where everything is, and how it is drawn."""

    canvas: _Canvas
    dice: _Dice
    names: list[str] = field(default_factory=list)  # category of each thing, in order of drawing
    glows: list[tuple[float, float, float, Color]] = field(default_factory=list)
    sky_glows: list[tuple[float, float, float, Color]] = field(default_factory=list)
    items: list[_Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        dice, canvas = self.dice, self.canvas
        self.weather = dice.weighted({name: mood.weight for name, mood in MOODS.items()})
        self.mood = MOODS[self.weather]
        self.is_raining = self.weather == "rain"
        self.is_dark = self.weather in ("night", "dusk")
        self.horizon = canvas.height * dice.between(0.36, 0.5)
        self.vanish = canvas.width * dice.between(0.28, 0.72)
        self.camera = dice.between(2.1, 2.9)  # metres above the ground
        self.sun = (dice.between(-1.3, 1.3), dice.between(-0.25, 0.7))  # metres of shadow per metre
        self.closest = FOCAL * self.camera / (canvas.height - self.horizon)  # depth at the bottom

    # Projection and light

    def at(self, x: float, y: float, z: float) -> Point:
        """Project a point: metres right of the camera, above the ground, ahead."""
        m = FOCAL / z
        return self.vanish + x * m, self.horizon + (self.camera - y) * m

    def across(self, z: float, margin: float = 0.0) -> tuple[float, float]:
        """Return what is visible at a depth, as metres right of the camera."""
        m = FOCAL / z
        return (-margin - self.vanish) / m, (self.canvas.width + margin - self.vanish) / m

    def lit(self, color: Color, z: float, shade: float = 1.0) -> Color:
        """Return a color as the scene's light and the haze at this depth leave it."""
        keep = self.mood.haze / (self.mood.haze + z)
        r, g, b = (
            min(255, max(0, round(keep * c * shade * light + (1 - keep) * far)))
            for c, light, far in zip(color, self.mood.light, self.mood.horizon, strict=True)
        )
        return r, g, b

    def shining(self, color: Color, z: float) -> Color:
        keep = self.mood.haze / (self.mood.haze + 0.5 * z)
        r, g, b = (
            round(keep * c + (1 - keep) * far)
            for c, far in zip(color, self.mood.horizon, strict=True)
        )
        return r, g, b

    def glow(self, at: Point, radius: float, color: Color, strength: float) -> None:
        r, g, b = (int(strength * c) for c in color)
        self.glows.append((at[0], at[1], radius, (r, g, b)))

    # The order of drawing

    def draw(self) -> None:
        self._draw_sky()
        self._draw_balloons()
        layout = self.dice.weighted({"avenue": 0.55, "crossing": 0.45})
        lanes, walks, lawns, boxes = (
            self._lay_avenue() if layout == "avenue" else self._lay_crossing()
        )
        self._draw_skyline(bool(boxes))
        self._draw_ground(lanes, walks, lawns, layout)
        for patch, height in sorted(boxes, key=lambda box: -box[0].z0):
            self._draw_building(patch, height)
            self._cast_block(patch, 0.55 * height)
        self._place_items(lanes, walks, lawns, layout)
        self.items.sort(key=lambda item: -item.z)
        seed = int(self.dice.between(0, 2**32))
        self.canvas.ground(self, np.random.Generator(np.random.PCG64(seed)))
        for item in self.items:
            if item.name is None:
                self.canvas.owner = VOID
            else:
                self._begin(item.name)
            item.draw()
        if self.dice.chance(0.1):
            self._draw_hood()

    def _begin(self, name: str) -> None:
        """Let what is drawn from now on belong to a new thing."""
        self.canvas.owner = FIRST_THING + len(self.names)
        self.names.append(name)

    # Sky

    def _draw_sky(self) -> None:
        canvas, dice, mood = self.canvas, self.dice, self.mood
        canvas.owner = SKY
        steps, end = 24, self.horizon + FOCAL * self.camera / FARTHEST  # where the ground begins
        for i in range(steps):
            w = i / (steps - 1)
            w = w * w * (3 - 2 * w) if self.weather == "dusk" else w
            r, g, b = (
                round((1 - w) * a + w * c) for a, c in zip(mood.zenith, mood.horizon, strict=True)
            )
            top, bottom = end * i / steps, end * (i + 1) / steps
            canvas.rectangle(0, top - 1, canvas.width, bottom + 1, (r, g, b))
        x = dice.between(0.1, 0.9) * canvas.width
        if self.weather == "day" and dice.chance(0.5):
            y = dice.between(0.08, 0.35) * self.horizon
            canvas.ellipse(x, y, 7, 7, (255, 244, 190))
            self.sky_glows.append((x, y, 30, (90, 80, 50)))
        elif self.weather == "dusk":
            y = dice.between(0.6, 0.95) * self.horizon
            canvas.ellipse(x, y, 9, 9, (255, 226, 150))
            self.sky_glows.append((x, y, 70, (100, 50, 20)))
        elif self.weather == "night":
            for _ in range(26):
                sx, sy = dice.between(0, canvas.width), dice.between(0, 0.9) * self.horizon
                size = dice.between(0.25, 0.6)
                canvas.ellipse(sx, sy, size, size, (214, 218, 236))
            y = dice.between(0.12, 0.4) * self.horizon
            canvas.ellipse(x, y, 6, 6, (240, 238, 218))
            canvas.ellipse(x + 2.6, y - 1.4, 5, 5, mood.zenith)
            self.sky_glows.append((x, y, 26, (40, 42, 52)))
        for _ in range(dice.count(mood.clouds // 3, mood.clouds)):
            self._draw_cloud()

    def _draw_cloud(self) -> None:
        dice, mood = self.dice, self.mood
        x, y = dice.between(0, 1) * self.canvas.width, dice.between(0.06, 0.7) * self.horizon
        size = dice.between(3, 9)
        w = {"night": 0.12, "dusk": 0.35}.get(self.weather, 0.75 if self.weather == "day" else 0.3)
        puffs = [
            (dice.between(-2.2, 2.2), dice.between(-0.35, 0.1), dice.between(0.6, 1.1))
            for _ in range(dice.count(4, 6))
        ]
        light: Color = (255, 214, 190) if self.weather == "dusk" else (252, 252, 252)
        for down, white in ((0.22, 0.75 * w), (0.0, w)):
            r, g, b = (
                round((1 - white) * (0.5 * a + 0.5 * c) + white * d)
                for a, c, d in zip(mood.zenith, mood.horizon, light, strict=True)
            )
            for dx, dy, radius in puffs:
                self.canvas.ellipse(
                    x + dx * size, y + (dy + down) * size,
                    radius * size * 1.25, radius * size * 0.55, (r, g, b),
                )  # fmt: skip

    def _draw_balloons(self) -> None:
        dice = self.dice
        if self.weather in ("rain", "fog") or not dice.chance(0.6):
            return
        taken: list[Point] = []
        for _ in range(int(dice.weighted({"1": 0.6, "2": 0.28, "3": 0.12}))):
            radius = dice.between(5, 14)
            x = dice.between(-0.02, 1.02) * self.canvas.width
            y = dice.between(0.1, 0.75) * self.horizon
            if all(abs(x - x2) > 30 for x2, _ in taken):
                taken.append((x, y))
                self._draw_balloon(x, y, radius)

    def _draw_balloon(self, x: float, y: float, r: float) -> None:
        canvas, dice = self.canvas, self.dice
        self._begin("balloon")
        z = 300 / r  # far enough to take some haze
        first, second = dice.pick(STRIPES), dice.pick(STRIPES)
        if second == first:
            second = STRIPES[(STRIPES.index(first) + 1) % len(STRIPES)]
        base, light = self.lit(first, z), self.lit(second, z)
        # Envelope: a ball that narrows into a skirt, in gores of two colors.
        skirt = (
            (x - 0.86 * r, y + 0.5 * r), (x + 0.86 * r, y + 0.5 * r),
            (x + 0.3 * r, y + 1.35 * r), (x - 0.3 * r, y + 1.35 * r),
        )  # fmt: skip
        canvas.polygon(skirt, base)
        canvas.ellipse(x, y, r, r, base)
        for outer, inner, side in ((0.78, 0.5, -1), (0.78, 0.5, 1)):
            gore = [
                (x + side * outer * r * (1 - k * k) ** 0.5, y + k * r)
                for k in (-0.98, -0.7, -0.35, 0, 0.35)
            ]
            gore += [(x + side * 0.66 * r, y + 0.56 * r), (x + side * 0.24 * r, y + 1.33 * r)]
            gore += [(x + side * 0.14 * r, y + 1.33 * r), (x + side * 0.42 * r, y + 0.56 * r)]
            gore += [
                (x + side * inner * r * (1 - k * k) ** 0.5, y + k * r)
                for k in (0.35, 0, -0.35, -0.7, -0.98)
            ]
            canvas.polygon(gore, light)
        canvas.polygon(
            ((x - 0.2 * r, y - 0.97 * r), (x + 0.2 * r, y - 0.97 * r),
             (x + 0.22 * r, y + 0.6 * r), (x + 0.07 * r, y + 1.33 * r),
             (x - 0.07 * r, y + 1.33 * r), (x - 0.22 * r, y + 0.6 * r)),
            light,
        )  # fmt: skip
        basket = self.lit((116, 76, 42), z)
        canvas.rectangle(x - 0.24 * r, y + 1.3 * r, x + 0.24 * r, y + 1.82 * r, basket)
        if self.is_dark:
            self.sky_glows.append((x, y + 0.7 * r, 2 * r, (100, 66, 24)))

    def _draw_skyline(self, is_town: bool) -> None:
        """Close the view: houses or hills on the horizon."""
        canvas, dice = self.canvas, self.dice
        base = self.horizon + FOCAL * self.camera / FARTHEST + 0.5
        if dice.chance(0.75 if is_town else 0.35):
            canvas.owner = BUILDING
            x = -dice.between(0, 8)
            while x < canvas.width:
                width, height = dice.between(10, 24), dice.between(5, 13)
                color = self.lit(dice.pick(WALLS), 110, 0.8)
                canvas.rectangle(x, self.horizon - height, x + width, base, color)
                if dice.chance(0.3):
                    roof = self.lit(dice.pick(ROOFS), 110, 0.8)
                    top = self.horizon - height
                    peak = (x + width / 2, top - width * 0.35)
                    canvas.polygon(((x, top), peak, (x + width, top)), roof)
                for _ in range(int(width * height / 12)):
                    shines = dice.chance(self.mood.lit)
                    wx, wy = dice.between(x + 1, x + width - 2), dice.between(0, height - 2)
                    pane = self.shining(LAMPLIGHT, 60) if shines else self.lit(GLASS, 110, 0.7)
                    wy = self.horizon - height + 1 + wy
                    canvas.rectangle(wx, wy, wx + 0.9, wy + 1.1, pane)
                x += width
        else:
            canvas.owner = GRASS
            for far, rise in ((60, 14), (35, 9)):
                color = self.lit((92, 132, 70), far, 0.95)
                knots = [dice.between(0.15, 1) * rise for _ in range(7)]
                ridge = []
                for i in range(61):
                    place = i / 60 * (len(knots) - 1)
                    k = min(int(place), len(knots) - 2)
                    w = place - k
                    w = w * w * (3 - 2 * w)
                    top = self.horizon - (1 - w) * knots[k] - w * knots[k + 1]
                    ridge.append((i / 60 * canvas.width, top))
                canvas.polygon([(0, base), *ridge, (canvas.width, base)], color)

    # Ground and houses

    def _quad(self, patch: _Patch, color: Color) -> None:
        """Draw a rectangle that lies on the ground."""
        z0, z1 = max(patch.z0, NEAREST), min(patch.z1, FARTHEST)
        if z0 >= z1:
            return
        self.canvas.polygon(
            (self.at(patch.x0, 0, z0), self.at(patch.x1, 0, z0),
             self.at(patch.x1, 0, z1), self.at(patch.x0, 0, z1)),
            color,
        )  # fmt: skip

    def _flat(self, color: Color, shade: float = 1.0) -> Color:
        """Light without haze, which the ground gets row by row."""
        r, g, b = (
            min(255, round(c * shade * light))
            for c, light in zip(color, self.mood.light, strict=True)
        )
        return r, g, b

    def _draw_ground(
        self,
        lanes: Sequence[_Patch],
        walks: Sequence[_Patch],
        lawns: Sequence[_Patch],
        layout: str,
    ) -> None:
        canvas, dice = self.canvas, self.dice
        canvas.owner = GRASS
        top = self.horizon + FOCAL * self.camera / FARTHEST
        grass = dice.pick(((98, 158, 60), (114, 168, 64), (100, 150, 70), (122, 170, 76)))
        canvas.rectangle(-1, top, canvas.width + 1, canvas.height + 1, self._flat(grass))
        canvas.owner = SIDEWALK
        paving = dice.pick(((200, 198, 196), (208, 204, 196), (190, 192, 198)))
        for walk in walks:
            self._quad(walk, self._flat(paving))
            self._draw_slabs(walk, self._flat(paving, 0.88))
        canvas.owner = ROAD
        asphalt = self._flat(dice.pick(((92, 94, 100), (104, 104, 108), (82, 84, 92))))
        for lane in lanes:
            self._quad(lane, asphalt)
        paint = self._flat((228, 226, 214))
        for lane in lanes:
            self._draw_marks(lane, paint, along=layout == "avenue")
            self._draw_spots([lane], (0.28, 0.36), [self._flat((82, 84, 90))], dice.count(0, 2))
        if self.is_raining:
            puddle = self._flat(self.mood.horizon, 1.05)
            canvas.owner = ROAD
            self._draw_spots(lanes, (0.4, 1.3), [puddle], 7)
            canvas.owner = SIDEWALK
            self._draw_spots(walks, (0.2, 0.5), [puddle], 5)
        elif dice.chance(0.5):
            canvas.owner = GRASS
            petals = [self._flat(dice.pick(STRIPES)), self._flat(WHITE)]
            self._draw_spots(lawns, (0.07, 0.14), petals, 40)

    def _draw_spots(
        self,
        patches: Sequence[_Patch],
        radii: tuple[float, float],
        colors: Sequence[Color],
        num: int,
    ) -> None:
        """Strew flat round spots over the near ground: puddles, manholes, flowers."""
        dice = self.dice
        for _ in range(num):
            patch: _Patch = dice.pick(patches)
            radius, color = dice.between(*radii), dice.pick(colors)
            low, high = max(patch.z0, self.closest) + radius, min(patch.z1, 25.0) - radius
            if low >= high:
                continue
            u = dice.between(0, 1)
            z = low + (high - low) * u * u
            left, right = self.across(z)
            left, right = max(left, patch.x0) + radius, min(right, patch.x1) - radius
            if left >= right:
                continue
            x, y = self.at(dice.between(left, right), 0, z)
            flat = FOCAL * self.camera / z**2  # units of height per metre of depth
            self.canvas.ellipse(x, y, radius * FOCAL / z, radius * flat, color)

    def _draw_slabs(self, walk: _Patch, line: Color) -> None:
        """Draw the joints between paving stones."""
        left, right = max(walk.x0, -40.0), min(walk.x1, 40.0)
        z = max(walk.z0, self.closest - 0.5)
        while z < min(walk.z1, 30):
            self._quad(_Patch(left, right, z, z + 0.12), line)
            z += 1.5
        if walk.z1 - walk.z0 > right - left:  # an avenue's walk: one joint along it
            middle = (walk.x0 + walk.x1) / 2
            self._quad(_Patch(middle - 0.05, middle + 0.05, walk.z0, walk.z1), line)
        else:
            x = left
            while x < right:
                self._quad(_Patch(x - 0.05, x + 0.05, walk.z0, walk.z1), line)
                x += 1.5

    def _draw_marks(self, lane: _Patch, paint: Color, *, along: bool) -> None:
        """Draw the dashes in the middle of a road, lines at its sides, perhaps a zebra crossing."""
        dice = self.dice
        start, zebra = dice.between(0, 3), dice.chance(0.4)
        if along:
            middle, half = (lane.x0 + lane.x1) / 2, 0.09
            z = self.closest - 2 + start
            while z < 70:
                self._quad(_Patch(middle - half, middle + half, z, z + 2), paint)
                z += 4.5
            for x in (lane.x0 + 0.25, lane.x1 - 0.25):
                self._quad(_Patch(x - 0.07, x + 0.07, lane.z0, lane.z1), paint)
            if zebra:
                z, x = dice.between(self.closest + 1, 16), lane.x0 + 0.5
                while x < lane.x1 - 0.4:
                    self._quad(_Patch(x, x + 0.5, z, z + 3), paint)
                    x += 1.0
        else:
            middle, half = (lane.z0 + lane.z1) / 2, 0.1
            x = -40 + start
            while x < 40:
                self._quad(_Patch(x, x + 2, middle - half, middle + half), paint)
                x += 4.5
            if zebra:
                left, right = self.across(middle)
                x, z = dice.between(0.2, 0.8) * (right - left) + left, lane.z0 + 0.4
                while z < lane.z1 - 0.4:
                    self._quad(_Patch(x, x + 3, z, z + 0.5), paint)
                    z += 1.0

    def _lay_avenue(self) -> tuple[list[_Patch], list[_Patch], list[_Patch], list[Any]]:
        """Look along a road: walks, lawns and rows of houses at both sides of it."""
        dice = self.dice
        middle, half = dice.between(-2.0, 2.0), dice.between(2.8, 3.6)
        lanes = [_Patch(middle - half, middle + half, NEAREST, FARTHEST)]
        walks, lawns, boxes = [], [], []
        for side in (-1, 1):
            curb = middle + side * half
            walk_width = dice.between(2.6, 4.2)
            outer = curb + side * walk_width
            walks.append(_Patch(min(curb, outer), max(curb, outer), NEAREST, FARTHEST))
            front = outer + side * (0.0 if dice.chance(0.4) else dice.between(3, 8))
            lawns.append(_Patch(min(outer, front), max(outer, front), NEAREST, 60))
            if dice.chance(0.14):
                lawns[-1] = _Patch(
                    min(outer, outer + side * 12), max(outer, outer + side * 12), NEAREST, 60
                )
                continue
            z = dice.between(2.5, 12)
            while z < 85:
                depth = dice.between(9, 17)
                height = dice.between(3.5, 11)
                far = front + side * dice.between(7, 12)
                patch = _Patch(min(front, far), max(front, far), z, z + depth)
                boxes.append((patch, height))
                z += depth + (dice.between(3, 10) if dice.chance(0.25) else 0)
        return lanes, walks, lawns, boxes

    def _lay_crossing(self) -> tuple[list[_Patch], list[_Patch], list[_Patch], list[Any]]:
        """Look across a road, at the houses on its other side."""
        dice = self.dice
        z = self.closest + dice.between(0.7, 3.0)
        wide = 200.0
        lawns = [_Patch(-wide, wide, self.closest, z)]
        near = _Patch(-wide, wide, z, z + dice.between(1.8, 2.8))
        road = _Patch(-wide, wide, near.z1, near.z1 + dice.between(5.5, 8))
        far = _Patch(-wide, wide, road.z1, road.z1 + dice.between(2.6, 4))
        front = far.z1 + (0.0 if dice.chance(0.35) else dice.between(3, 9))
        lawns.append(_Patch(-wide, wide, far.z1, front))
        boxes = []
        left, right = self.across(front, 60)
        x = left
        share = dice.pick((0.25, 0.7, 0.92))
        while x < right:
            width, height = dice.between(8, 15), dice.between(3.5, 10)
            if dice.chance(share):
                depth = dice.between(5, 9)
                boxes.append((_Patch(x, x + width, front, front + depth), height))
            x += width + (dice.between(2, 7) if dice.chance(0.4) else 0.0)
        boxes.sort(key=lambda box: -abs(box[0].x0 + box[0].x1))
        return [road], [near, far], lawns, boxes

    def _draw_building(self, patch: _Patch, height: float) -> None:
        canvas, dice = self.canvas, self.dice
        canvas.owner = BUILDING
        wall, roof = dice.pick(WALLS), dice.pick(ROOFS)
        x0, x1, z0, z1 = patch.x0, patch.x1, max(patch.z0, NEAREST), patch.z1
        if z1 <= z0:
            return
        is_pitched = dice.chance(0.5) and height < 8
        shutters = dice.chance(0.3)
        trim = tuple(min(255, c + 40) for c in wall)
        side_x = x0 if x0 > 0 else x1 if x1 < 0 else None
        if side_x is not None:

            def on_side(u: float, v: float) -> Point:
                return self.at(side_x, v, z0 + u)

            corners = [
                on_side(0, 0),
                on_side(z1 - z0, 0),
                on_side(z1 - z0, height),
                on_side(0, height),
            ]
            shade = 0.8 if (side_x > 0) == (self.sun[0] > 0) else 1.02
            canvas.polygon(corners, self.lit(wall, (z0 + z1) / 2, shade))
            self._draw_facade(on_side, z1 - z0, height, z0, shade, trim, shutters)

        def on_front(u: float, v: float) -> Point:
            return self.at(x0 + u, v, z0)

        width = x1 - x0
        corners = [on_front(0, 0), on_front(width, 0), on_front(width, height), on_front(0, height)]
        canvas.polygon(corners, self.lit(wall, z0, 0.94))
        self._draw_facade(on_front, width, height, z0, 0.94, trim, shutters)
        if is_pitched:
            peak = self.at((x0 + x1) / 2, height + 0.3 * width, (z0 + z1) / 2)
            if side_x is not None:
                edge = -0.3 if side_x > 0 else 0.3
                eaves = (self.at(side_x + edge, height, z0), self.at(side_x + edge, height, z1))
                canvas.polygon((*eaves, peak), self.lit(roof, z0, 0.85))
            eaves = (self.at(x0 - 0.3, height, z0), self.at(x1 + 0.3, height, z0))
            canvas.polygon((*eaves, peak), self.lit(roof, z0))
        else:
            cap = self.lit(trim, z0, 0.9)
            canvas.polygon(
                (on_front(-0.15, height - 0.1), on_front(width + 0.15, height - 0.1),
                 on_front(width + 0.15, height + 0.35), on_front(-0.15, height + 0.35)),
                cap,
            )  # fmt: skip

    def _draw_facade(
        self,
        on: Place,
        width: float,
        height: float,
        z: float,
        shade: float,
        trim: Any,
        shutters: bool,
    ) -> None:
        """Draw door, awning and rows of windows on a wall that `on` projects."""
        canvas, dice = self.canvas, self.dice
        px = FOCAL / z  # units per metre, at the near end
        if px < 2.2:
            return

        def quad(u: float, v: float, w: float, h: float, color: Color) -> None:
            canvas.polygon((on(u, v), on(u + w, v), on(u + w, v + h), on(u, v + h)), color)

        if px > 5:  # single bricks that the kiln left darker or lighter
            for _ in range(min(36, int(0.9 * width * height))):
                tone = self.lit(trim, z, shade * dice.between(0.68, 0.86))
                u, v = dice.between(0, width - 0.6), dice.between(0.2, height - 0.4)
                quad(u, v, 0.55, 0.2, tone)
        frame = self.lit(trim, z, shade)
        dark = self.lit(GLASS, z, shade * 0.8)
        lamp = self.shining(LAMPLIGHT, z)
        columns = max(1, min(6, int(width / 2.1)))
        floors = max(1, min(4, int(height / 2.7)))
        step = width / columns
        is_shop = dice.chance(0.4)
        door = dice.count(0, columns - 1)
        wood = dice.pick(((110, 60, 40), (40, 84, 70), (60, 60, 90), (140, 40, 44)))
        for floor in range(floors):
            for column in range(columns):
                u, v = (column + 0.5) * step - 0.55, floor * 2.7 + 0.9
                shines = dice.chance(self.mood.lit)
                if floor == 0 and column == door:
                    quad(u, 0, 1.1, 2.1, self.lit(wood, z, shade))
                    continue
                if px > 5:
                    quad(u - 0.12, v - 0.12, 1.34, 1.5, frame)
                if shutters and floor and px > 5:
                    quad(u - 0.5, v - 0.05, 0.4, 1.36, self.lit(wood, z, shade))
                    quad(u + 1.2, v - 0.05, 0.4, 1.36, self.lit(wood, z, shade))
                quad(u, v, 1.1, 1.26, lamp if shines else dark)
                if px > 8 and not shines:
                    quad(u, v + 0.63, 1.1, 0.63, self.lit(GLASS, z, shade * 1.05))
        if is_shop and px > 3.5:
            first = self.lit(dice.pick(STRIPES), z, shade)
            second = self.lit(WHITE, z, shade)
            parts = max(2, min(12, int(width / 0.9)))
            for i in range(parts):
                quad(i * width / parts, 2.2, width / parts, 0.55, second if i % 2 else first)

    # What stands on the ground

    def _is_free(self, patch: _Patch, box: _Box, gap: float) -> bool:
        """Tell whether a place is taken, or what stands there would hide or be hidden too much."""
        for other in self.items:
            if (
                patch.x0 - gap < other.footprint.x1
                and other.footprint.x0 - gap < patch.x1
                and patch.z0 - gap < other.footprint.z1
                and other.footprint.z0 - gap < patch.z1
            ):
                return False
            if other.name is None:
                continue
            wide = min(box[2], other.box[2]) - max(box[0], other.box[0])
            high = min(box[3], other.box[3]) - max(box[1], other.box[1])
            behind = box if patch.z0 > other.footprint.z0 else other.box
            area = (behind[2] - behind[0]) * (behind[3] - behind[1])
            if wide > 0 and high > 0 and wide * high > MAX_HIDDEN * area:
                return False
        return True

    def _box(self, x: float, z: float, half: float, height: float) -> _Box:
        """Return the box, in the picture, of something upright."""
        return (*self.at(x - half, height, z), *self.at(x + half, 0, z))

    def _spot(
        self,
        patches: Sequence[_Patch],
        far: float,
        size: tuple[float, float],
        *,
        near: float = 0.2,
        margin: float = 3,
    ) -> tuple[float, float] | None:
        """Find a visible place (x, z) for something of `size` (half width, height in metres).

        It is at least `near` metres behind the nearest ground that is seen, at most `far` ahead of
        the camera, and at most `margin` units outside the picture.
        """
        dice, (half, height) = self.dice, size
        for _ in range(16):
            patch: _Patch = dice.pick(patches)
            low, high = max(patch.z0, self.closest + near), min(patch.z1, far)
            u = dice.between(0, 1)
            if low >= high:
                continue
            z = low + (high - low) * u * (0.4 + 0.6 * u)  # more of what is near
            left, right = self.across(z, margin)
            left, right = max(left, patch.x0 + 0.35), min(right, patch.x1 - 0.35)
            if left >= right:
                continue
            x = dice.between(left, right)
            if self._is_free(self._footprint(x, z, half), self._box(x, z, half, height), 0.1):
                return x, z
        return None

    def _footprint(self, x: float, z: float, half: float) -> _Patch:
        return _Patch(x - 0.8 * half, x + 0.8 * half, z - 0.3, z + 0.3)

    def _place_items(
        self,
        lanes: Sequence[_Patch],
        walks: Sequence[_Patch],
        lawns: Sequence[_Patch],
        layout: str,
    ) -> None:
        dice = self.dice
        self._place_traffic(lanes[0], along=layout == "avenue")
        for _ in range(dice.count(0, 3)):
            height = dice.between(3.2, 5.6)
            spot = self._spot(
                [*lawns, *lawns, *walks], 34, (0.34 * height, height), near=1.5, margin=6
            )
            if spot:
                self._add_tree(*spot, height)
        for _ in range(dice.count(1, 2) if dice.chance(0.5) else 0):
            spot = self._spot(walks, 30, (0.2, 4.2), near=1, margin=0)
            if spot:
                self._add_lamp(*spot)
        walkable = [*walks, *walks, *walks, *lawns, *lanes]
        for _ in range(dice.count(0, 3)):
            size = dice.between(1.0, 1.16) if dice.chance(0.8) else dice.between(0.7, 0.82)
            spot = self._spot(walkable, 20, (0.45 * size, 2 * size), margin=1)
            if spot:
                self._add_person(*spot, size)
        for _ in range(dice.count(0, 1) + dice.chance(0.3)):
            size = dice.between(1.1, 1.5)
            spot = self._spot([*walks, *lawns], 10, (0.75 * size, 1.05 * size), near=0.3, margin=-3)
            if spot:
                self._add_dog(*spot, size)

    def _stand(
        self, z: float, name: str | None, patch: _Patch, box: _Box, draw: Callable[[], None]
    ) -> None:
        self.items.append(_Item(z, name, draw, patch, box))

    def _cast(self, x: float, z: float, half: float, height: float) -> None:
        """Put a shadow on the ground: dark under the thing, and stretched away from the sun."""
        for reach, wide in ((0.0, 1.0), (0.5, 0.8)):
            cx, cz = x + self.sun[0] * height * reach, z + self.sun[1] * height * reach
            long_x = half * wide + abs(self.sun[0]) * height * reach
            long_z = half * 0.5 * wide + abs(self.sun[1]) * height * reach
            self.canvas.shadow(
                [self.at(cx + long_x * c, 0, max(1.0, cz + long_z * s)) for c, s in CIRCLE]
            )

    def _cast_block(self, patch: _Patch, height: float) -> None:
        """Put the shadow of a house on the ground."""
        dx, dz = self.sun[0] * height, self.sun[1] * height
        corners = [
            (patch.x0, patch.z0), (patch.x1, patch.z0), (patch.x1, patch.z1), (patch.x0, patch.z1)
        ]  # fmt: skip
        for (xa, za), (xb, zb) in zip(corners, corners[1:] + corners[:1], strict=True):
            strip = ((xa, za), (xb, zb), (xb + dx, zb + dz), (xa + dx, za + dz))
            self.canvas.shadow([self.at(x, 0, max(NEAREST, z)) for x, z in strip])

    def _local(self, x: float, z: float, flip: float = 1.0) -> Place:
        """Return the projection of an upright plane through (x, z) that faces the camera."""
        foot_x, foot_y = self.at(x, 0, z)
        m = FOCAL / z
        return lambda a, b: (foot_x + flip * a * m, foot_y - b * m)

    # Trees and lamps

    def _add_tree(self, x: float, z: float, height: float) -> None:
        dice = self.dice
        kind = dice.weighted({"round": 0.6, "fir": 0.4})
        if kind == "round":
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
        else:
            leaf, puffs, clumps, fruit = dice.pick(NEEDLES), [], [], None
        half = height * (0.4 if kind == "round" else 0.3)
        self._cast(x, z, half * 0.8, height)
        sunny = -1 if self.sun[0] > 0 else 1

        def draw() -> None:
            canvas, place, m = self.canvas, self._local(x, z), FOCAL / z
            bark = self.lit((104, 74, 50), z)
            canvas.polygon(
                (
                    place(-0.26, 0),
                    place(0.26, 0),
                    place(0.18, height * 0.5),
                    place(-0.18, height * 0.5),
                ),
                bark,
            )
            if kind == "fir":
                for i, (low, top, wide) in enumerate(
                    ((0.16, 0.6, 1.0), (0.38, 0.8, 0.8), (0.6, 1.0, 0.58))
                ):
                    low, top = low * height, top * height
                    color = self.lit(leaf, z, 0.86 + 0.12 * i)
                    canvas.polygon(
                        (place(-half * wide, low), place(0, top), place(half * wide, low)), color
                    )
                    canvas.polygon(
                        (place(0, low), place(0, top), place(sunny * half * wide, low)),
                        self.lit(leaf, z, 1.04 + 0.12 * i),
                    )
                return
            middle = height * 0.64
            crown = [(0.0, 0.0, 0.33), *puffs]
            for shift, size, shade in ((0.0, 1.0, 0.8), (0.05, 0.82, 1.0), (0.1, 0.5, 1.18)):
                color = self.lit(leaf, z, shade)
                for dx, dy, radius in crown:
                    cx, cy = place(
                        (dx * size + sunny * shift * 0.9) * height,
                        middle + (dy * size + shift) * height,
                    )
                    canvas.ellipse(
                        cx, cy, radius * size * height * m, radius * size * height * m, color
                    )
            for i, (dx, dy, radius) in enumerate(clumps):
                cx, cy = place(dx * height, middle + dy * height)
                color = self.lit(leaf, z, 1.26 if i % 2 else 0.9)
                if fruit and i % 2:
                    color, radius = self.lit(fruit, z), 0.028
                if dx * dx + dy * dy < 0.08:
                    canvas.ellipse(cx, cy, radius * height * m, radius * height * m, color)

        self._stand(z, "tree", self._footprint(x, z, half), self._box(x, z, half, height), draw)

    def _add_lamp(self, x: float, z: float) -> None:
        """A street lamp belongs to no category: some things in the world are unlabelled."""
        side = 1 if x < 0 else -1
        self._cast(x, z, 0.15, 0.3)
        if self.is_dark:
            self.glow(
                self.at(x + side * 0.6, 4.0, z),
                2.6 * FOCAL / z,
                LAMPLIGHT,
                0.5 if self.weather == "night" else 0.25,
            )

        def draw() -> None:
            canvas, place = self.canvas, self._local(x, z, side)
            iron = self.lit((66, 72, 78), z)
            canvas.polygon(
                (place(-0.07, 0), place(0.07, 0), place(0.05, 4.2), place(-0.05, 4.2)), iron
            )
            canvas.polygon(
                (place(0, 4.2), place(0.8, 4.25), place(0.8, 4.12), place(0, 4.05)), iron
            )
            bulb = self.shining(LAMPLIGHT, z) if self.is_dark else self.lit((226, 226, 214), z)
            canvas.polygon(
                (place(0.4, 4.12), place(0.85, 4.12), place(0.78, 3.94), place(0.47, 3.94)), bulb
            )

        self._stand(z, None, self._footprint(x, z, 0.2), self._box(x, z, 0.2, 4.2), draw)

    # People and dogs

    def _add_person(self, x: float, z: float, size: float) -> None:
        dice = self.dice
        coat, trousers = dice.pick(COATS), dice.pick(TROUSERS)
        skin, hair = dice.pick(SKINS), dice.pick(HAIRS)
        wears_dress, from_behind = dice.chance(0.3), dice.chance(0.45)
        extra = dice.weighted({"none": 0.55, "hat": 0.2, "bag": 0.25})
        has_umbrella = self.is_raining and dice.chance(0.75)
        cover = dice.pick(STRIPES)
        stride, flip = dice.between(0.02, 0.12), dice.pick((-1.0, 1.0))
        self._cast(x, z, 0.36 * size, 1.7 * size)

        def draw() -> None:
            canvas, m = self.canvas, FOCAL / z * size
            base = self._local(x, z, flip)

            def place(a: float, b: float) -> Point:
                return base(a * size, b * size)

            def disk(a: float, b: float, r: float, color: Color, tall: float = 1.0) -> None:
                cx, cy = place(a, b)
                canvas.ellipse(cx, cy, r * m, r * tall * m, color)

            legs, shoe = self.lit(trousers, z), self.lit((40, 32, 30), z)
            canvas.polygon(
                (place(-0.24 - stride, 0), place(-0.02, 0), place(0.0, 0.9), place(-0.25, 0.9)),
                legs,
            )
            canvas.polygon(
                (place(0.02, 0.03), place(0.24 + stride, 0.03), place(0.25, 0.9), place(0.0, 0.9)),
                self.lit(trousers, z, 0.82),
            )
            disk(-0.14 - stride, 0.05, 0.15, shoe, 0.5)
            disk(0.16 + stride, 0.06, 0.15, shoe, 0.5)
            body, sleeve = self.lit(coat, z), self.lit(coat, z, 0.78)
            for side in (-1, 1):  # arms
                canvas.polygon(
                    (place(side * 0.22, 1.42), place(side * 0.36, 1.36),
                     place(side * 0.44, 0.82), place(side * 0.3, 0.78)),
                    sleeve,
                )  # fmt: skip
                disk(side * 0.37, 0.78, 0.085, self.lit(skin, z))
            if wears_dress:
                outline = (
                    (-0.38, 0.5),
                    (0.38, 0.5),
                    (0.26, 1.4),
                    (0.14, 1.5),
                    (-0.14, 1.5),
                    (-0.26, 1.4),
                )
            else:
                outline = (
                    (-0.28, 0.74),
                    (0.28, 0.74),
                    (0.31, 1.38),
                    (0.16, 1.5),
                    (-0.16, 1.5),
                    (-0.31, 1.38),
                )
            canvas.polygon([place(a, b) for a, b in outline], body)
            if extra == "bag":
                if from_behind:
                    canvas.polygon(
                        [
                            place(a, b)
                            for a, b in ((-0.2, 0.9), (0.2, 0.9), (0.18, 1.38), (-0.18, 1.38))
                        ],
                        self.lit(cover, z, 0.9),
                    )
                else:
                    canvas.polygon(
                        [
                            place(a, b)
                            for a, b in ((0.24, 0.62), (0.52, 0.62), (0.5, 0.92), (0.26, 0.92))
                        ],
                        self.lit(cover, z, 0.9),
                    )
            elif not from_behind and not wears_dress:
                canvas.polygon(
                    [
                        place(a, b)
                        for a, b in ((-0.025, 0.76), (0.025, 0.76), (0.06, 1.48), (-0.06, 1.48))
                    ],
                    self.lit(WHITE, z, 0.9),
                )
            face, mane = self.lit(skin, z), self.lit(hair, z)
            disk(0, 1.74, 0.235, mane)
            if not from_behind:
                disk(0.0, 1.69, 0.195, face)
                if m > 12:
                    for side in (-1, 1):
                        disk(side * 0.07, 1.71, 0.028, self.lit(BLACK, z))
            if extra == "hat":
                felt = self.lit(cover, z, 0.85)
                cx, cy = place(0, 1.8)
                canvas.pie(cx, cy, 0.25 * m, 0.24 * m, 180, 360, felt)
                canvas.polygon(
                    [
                        place(a, b)
                        for a, b in ((-0.34, 1.78), (0.34, 1.78), (0.3, 1.85), (-0.3, 1.85))
                    ],
                    felt,
                )
            if has_umbrella:
                canvas.polygon(
                    [place(a, b) for a, b in ((0.28, 1.1), (0.34, 1.1), (0.2, 2.1), (0.14, 2.1))],
                    self.lit(BLACK, z),
                )
                cx, cy = place(0.1, 1.86)
                tones = (self.lit(cover, z), self.lit(cover, z, 0.78))
                for i in range(4):
                    canvas.pie(cx, cy, 0.72 * m, 0.52 * m, 180 + 45 * i, 226 + 45 * i, tones[i % 2])

        self._stand(
            z,
            "person",
            self._footprint(x, z, 0.45 * size),
            self._box(x, z, 0.45 * size, 2 * size),
            draw,
        )

    def _add_dog(self, x: float, z: float, size: float) -> None:
        dice = self.dice
        fur, collar = dice.pick(FURS), dice.pick(STRIPES)
        patch_color = dice.pick((None, (72, 48, 36), (240, 238, 230)))
        flip, wag = dice.pick((-1.0, 1.0)), dice.between(0.1, 0.3)
        self._cast(x, z, 0.5 * size, 0.6 * size)

        def draw() -> None:
            canvas, m = self.canvas, FOCAL / z * size
            base = self._local(x, z, flip)

            def place(a: float, b: float) -> Point:
                return base(a * size, b * size)

            def disk(a: float, b: float, rx: float, ry: float, color: Color) -> None:
                cx, cy = place(a, b)
                canvas.ellipse(cx, cy, rx * m, ry * m, color)

            coat, back = self.lit(fur, z), self.lit(fur, z, 0.76)
            for a, color in ((-0.3, back), (0.28, back), (-0.42, coat), (0.16, coat)):
                canvas.polygon(
                    (place(a, 0), place(a + 0.15, 0), place(a + 0.17, 0.4), place(a - 0.03, 0.4)),
                    color,
                )
            canvas.polygon(
                (
                    place(-0.4, 0.5),
                    place(-0.5, 0.42),
                    place(-0.74, 0.6 + wag),
                    place(-0.64, 0.68 + wag),
                ),
                coat,
            )
            disk(-0.24, 0.48, 0.25, 0.2, coat)
            disk(0.2, 0.5, 0.25, 0.22, coat)
            canvas.polygon(
                (place(-0.24, 0.28), place(0.2, 0.28), place(0.2, 0.71), place(-0.24, 0.68)), coat
            )
            if patch_color:
                disk(-0.12, 0.54, 0.17, 0.12, self.lit(patch_color, z))
            canvas.polygon(
                (place(0.2, 0.62), place(0.42, 0.5), place(0.58, 0.8), place(0.34, 0.86)), coat
            )
            canvas.polygon(
                (place(0.3, 0.66), place(0.46, 0.6), place(0.5, 0.66), place(0.34, 0.72)),
                self.lit(collar, z),
            )
            disk(0.48, 0.84, 0.2, 0.18, coat)
            disk(0.67, 0.78, 0.13, 0.1, coat)
            disk(0.77, 0.8, 0.05, 0.045, self.lit(BLACK, z))
            disk(0.36, 0.84, 0.09, 0.17, back)
            if m > 10:
                disk(0.54, 0.88, 0.03, 0.03, self.lit(BLACK, z))

        self._stand(
            z,
            "dog",
            self._footprint(x, z, 0.75 * size),
            self._box(x, z, 0.75 * size, 1.05 * size),
            draw,
        )

    # Cars and buses

    def _place_traffic(self, road: _Patch, *, along: bool) -> None:
        dice = self.dice
        for _ in range(dice.count(0, 4)):
            is_bus = dice.chance(0.22)
            length, width = (
                (dice.between(7.5, 9.5), 2.5) if is_bus else (dice.between(3.5, 4.5), 1.8)
            )
            for _ in range(8):
                lane = dice.pick((-1, 1))
                if along:
                    half = (road.x1 - road.x0) / 2
                    x = (road.x0 + road.x1) / 2 + lane * half * dice.pick((0.5, 0.5, 0.68))
                    u = dice.between(0, 1)
                    z = (self.closest + 0.4 if not is_bus else 8) + 27 * u * (0.35 + 0.65 * u)
                    left, right = self.across(z, 8)
                    footprint = _Patch(x - width / 2, x + width / 2, z, z + length)
                else:
                    half = (road.z1 - road.z0) / 2
                    z = (road.z0 + road.z1) / 2 + lane * half * 0.5 - width / 2
                    left, right = self.across(z, -4)
                    x = dice.between(left - 0.4 * length, right + 0.4 * length)
                    footprint = _Patch(x - length / 2, x + length / 2, z, z + width)
                    left, right = left - length, right + length
                box = self._box(x, z, (width if along else length) / 2, 2.9 if is_bus else 1.5)
                if left < x < right and self._is_free(footprint, box, 0.7):
                    self._add_vehicle(x, z, length, width, lane, box, is_bus=is_bus, along=along)
                    break

    def _add_vehicle(
        self,
        x: float,
        z: float,
        length: float,
        width: float,
        lane: int,
        box: _Box,
        *,
        is_bus: bool,
        along: bool,
    ) -> None:
        """Draw a car or a bus as a solid: its side view, drawn out over its width."""
        dice = self.dice
        if is_bus:
            name, paint = (
                "bus",
                dice.pick(BUS_PAINTS),
            )
            height = 2.9
            shape: tuple[Point, ...] = (
                (0, 0.35),
                (0.0, height - 0.1),
                (0.2, height),
                (length - 0.2, height),
                (length, height - 0.2),
                (length, 0.35),
            )
            panes: list[tuple[Point, ...]] = []
            parts = 6
            for i in range(parts):
                u0 = 0.25 + i * (length - 0.5) / parts
                u1 = u0 + (length - 0.5) / parts - 0.18
                panes.append(((u0, 1.45), (u1, 1.45), (u1, 2.45), (u0, 2.45)))
            glass_edges: tuple[int, ...] = ()
            wheels, radius = (length * 0.2, length * 0.78), 0.48
        else:
            name, paint = "car", dice.pick(PAINTS)
            s = length / 4.2
            kind = dice.weighted({"sedan": 0.4, "hatch": 0.35, "van": 0.25})
            if kind == "sedan":
                height, a, b, c, d = 1.45, 0.55, 1.15, 2.4, 3.1
            elif kind == "hatch":
                height, a, b, c, d = 1.5, 0.08, 0.5, 2.3, 3.0
            else:
                height, a, b, c, d = 1.85, 0.03, 0.2, 2.7, 3.35
            belt = 0.95
            shape = (
                (0, 0.3), (0, belt - 0.08), (a * s, belt), (b * s, height), (c * s, height + 0.02),
                (d * s, belt), (4.1 * s, belt - 0.18), (length, 0.6), (length, 0.3),
            )  # fmt: skip
            pillar = (b + c) / 2 * s
            inset = height - 0.12
            panes = [
                (
                    (a * s + 0.25, belt + 0.02),
                    (pillar - 0.06, belt + 0.02),
                    (pillar - 0.06, inset),
                    (b * s + 0.08, inset),
                ),
                (
                    (pillar + 0.06, belt + 0.02),
                    (d * s - 0.2, belt + 0.02),
                    (c * s - 0.04, inset),
                    (pillar + 0.06, inset),
                ),
            ]
            glass_edges = (2, 4)
            wheels, radius = (0.75 * s, 3.35 * s), 0.36
        heading = 1 if lane > 0 else -1
        if along:
            footprint = _Patch(x - width / 2, x + width / 2, z, z + length)
            away = heading > 0  # who drives on the right is seen from behind
            seen_side = 0.0 if x > 0 else 1.0

            def solid(u: float, v: float, w: float) -> Point:
                return self.at(x + (w - 0.5) * width, v, z + (u if away else length - u))
        else:
            footprint = _Patch(x - length / 2, x + length / 2, z, z + width)
            away, seen_side = True, 0.0

            def solid(u: float, v: float, w: float) -> Point:
                return self.at(x + heading * (u - length / 2), v, z + w * width)

        ground = [
            solid(u, 0, w)
            for u, w in ((-0.1, -0.08), (length + 0.1, -0.08), (length + 0.1, 1.08), (-0.1, 1.08))
        ]
        self.canvas.shadow(ground)
        push = self.sun[0] * 0.6 * (1.5 if is_bus else 0.9)
        self.canvas.shadow([(px + push * FOCAL / (z + 1), py) for px, py in ground])
        has_lights = self.is_dark or self.is_raining or self.weather == "fog"
        is_end_front = not away
        if has_lights and along:
            for w in (0.14, 0.86):
                at = solid(length, 0.68, w) if is_end_front else solid(0, 0.72, w)
                color = HEADLIGHT if is_end_front else TAILLIGHT
                self.glow(at, 0.6 * FOCAL / z, color, 0.28 if self.weather == "night" else 0.15)

        def draw() -> None:
            canvas = self.canvas
            tire, rim = self.lit(TIRE, z), self.lit((150, 152, 156), z)
            under = self.lit((30, 30, 34), z, 0.8)

            def wheel(u0: float, w: float) -> None:
                canvas.polygon(
                    [solid(u0 + radius * c, radius + radius * s, w) for c, s in CIRCLE], tire
                )
                if FOCAL / z > 7:
                    canvas.polygon(
                        [
                            solid(u0 + 0.5 * radius * c, radius + 0.5 * radius * s, w)
                            for c, s in CIRCLE
                        ],
                        rim,
                    )

            hidden = 1.0 - seen_side
            for u0 in wheels:
                wheel(u0, hidden)
            if along:  # the wheels of the near end, and what is dark between them
                u_end = wheels[0] - radius if away else wheels[1] + radius
                for w0, w1 in ((0.04, 0.2), (0.8, 0.96)):
                    canvas.polygon(
                        [solid(u_end, v, w) for v, w in ((0, w0), (0, w1), (0.5, w1), (0.5, w0))],
                        tire,
                    )
                canvas.polygon(
                    [
                        solid(u_end, v, w)
                        for v, w in ((0.14, 0.1), (0.14, 0.9), (0.5, 0.9), (0.5, 0.1))
                    ],
                    under,
                )
            # Around the outline, far edges first: each is a strip over the width.
            edges = list(range(len(shape) - 1))
            if along and away:
                edges.reverse()
            for i in edges:
                (u0, v0), (u1, v1) = shape[i], shape[i + 1]
                flatness = abs(u1 - u0) / (abs(u1 - u0) + abs(v1 - v0))
                shade = 0.86 + 0.3 * flatness
                strip = (solid(u0, v0, 0), solid(u1, v1, 0), solid(u1, v1, 1), solid(u0, v0, 1))
                canvas.polygon(strip, self.lit(paint, z, shade))
                if i in glass_edges:
                    k0, k1 = 0.12, 0.9
                    ua, va = u0 + (u1 - u0) * k0, v0 + (v1 - v0) * k0
                    ub, vb = u0 + (u1 - u0) * k1, v0 + (v1 - v0) * k1
                    canvas.polygon(
                        (
                            solid(ua, va, 0.08),
                            solid(ub, vb, 0.14),
                            solid(ub, vb, 0.86),
                            solid(ua, va, 0.92),
                        ),
                        self.lit(GLASS, z, 1.0),
                    )
            canvas.polygon(
                [solid(u, v, seen_side) for u, v in shape],
                self.lit(paint, z, 0.8 if along else 1.0),
            )
            glass = (
                self.shining(LAMPLIGHT, z) if is_bus and self.is_dark else self.lit(GLASS, z, 0.85)
            )
            for pane in panes:
                canvas.polygon([solid(u, v, seen_side) for u, v in pane], glass)
            if is_bus:
                band = self.lit(WHITE, z, 0.8 if along else 1.0)
                canvas.polygon(
                    [
                        solid(u, v, seen_side)
                        for u, v in ((0, 1.05), (length, 1.05), (length, 1.25), (0, 1.25))
                    ],
                    band,
                )
            for u0 in wheels:
                wheel(u0, seen_side)
            self._draw_ends(solid, length, along=along, away=away, is_bus=is_bus, z=z, glass=glass)

        self._stand(z, name, footprint, box, draw)

    def _draw_ends(
        self,
        solid: Callable[[float, float, float], Point],
        length: float,
        *,
        along: bool,
        away: bool,
        is_bus: bool,
        z: float,
        glass: Color,
    ) -> None:
        """Draw lamps, plate and, on a bus, the window of the end that is seen."""
        canvas = self.canvas
        shines = self.weather in ("dusk", "night", "rain", "fog")
        red = self.shining(TAILLIGHT, z) if shines else self.lit(TAILLIGHT, z)
        white = self.shining(HEADLIGHT, z) if shines else self.lit((250, 246, 224), z)
        if not along:  # lamps at the corners of the side that is seen
            canvas.polygon(
                [solid(u, v, 0.0) for u, v in ((0, 0.62), (0.2, 0.62), (0.2, 0.82), (0, 0.82))], red
            )
            tip = length - 0.02
            canvas.polygon(
                [
                    solid(u, v, 0.0)
                    for u, v in ((tip, 0.5), (tip - 0.25, 0.56), (tip - 0.25, 0.72), (tip, 0.6))
                ],
                white,
            )
            return
        end = 0.0 if away else length
        lamp = red if away else white

        def quad(w0: float, v0: float, w1: float, v1: float, color: Color) -> None:
            canvas.polygon(
                [solid(end, v, w) for v, w in ((v0, w0), (v0, w1), (v1, w1), (v1, w0))], color
            )

        low, high = ((0.6, 0.84) if away else (0.42, 0.6)) if not is_bus else (0.6, 0.9)
        quad(0.05, low, 0.24, high, lamp)
        quad(0.76, low, 0.95, high, lamp)
        if not is_bus:
            quad(0.38, 0.44, 0.62, 0.58, self.lit(WHITE, z, 0.95))
        else:
            quad(0.1, 1.3, 0.9, 2.35, glass)
            quad(0.25, 2.48, 0.75, 2.76, self.shining((255, 190, 70), z))

    def _draw_hood(self) -> None:
        """The hood of the car that carries the camera, which no category claims."""
        canvas, dice = self.canvas, self.dice
        canvas.owner = VOID
        x, width = dice.between(0.3, 0.7) * canvas.width, 0.62 * canvas.width
        rise = dice.between(3, 8)
        color = self._flat(dice.pick(PAINTS), 0.6)
        canvas.ellipse(x, canvas.height + 9, width, 9 + rise, color)
        canvas.ellipse(
            x, canvas.height + 11, width * 0.9, 9 + rise, self._flat((120, 126, 134), 0.7)
        )
