"""The camera of a drawn street, its light, and the sheets that it draws on.

Metres become units by projection, and units become pixels on the canvas: the picture, the id map
that is its truth, and the shadows on the ground. Choices come from `Dice`, and arithmetic that
decides anything avoids functions whose last bit differs between machines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pfpn.structures import VOID

REFERENCE_SIZE = (128, 192)  # a scene is laid out in units that are pixels at this size
MAX_HIDDEN = 0.5  # of a thing's box that one nearer thing's box may cover
OVERSAMPLING = 2  # drawn pixels per side of a final one

Color = tuple[int, int, int]
Point = tuple[float, float]  # x, y in units
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in units
# Maps metres to the right of a thing's foot, and above it, to x, y in units.
Projection = Callable[[float, float], Point]

FOCAL = 150.0  # units; the picture of 1 metre at a depth of Z metres is FOCAL / Z units high
NEAREST = 2.0  # metres; the ground nearer than this is below every picture
FARTHEST = 150.0  # metres; all that is farther away is a line on the horizon

# Ids while drawing: VOID, the stuff classes, then one for each thing.
SKY, BUILDING, ROAD, SIDEWALK, GRASS = 1, 2, 3, 4, 5
FIRST_THING = 6


@dataclass(frozen=True, slots=True)
class Mood:
    """Weather and time of day: how a scene is lit."""

    weight: float  # relative frequency among the scenes
    zenith: Color
    horizon: Color
    light: tuple[float, float, float]  # factor on every color, except those of lamps
    haze: float  # metres at which a color is half the horizon's
    shadow: float  # fraction of the light that a shadow removes
    lit: float  # fraction of the windows that shine
    clouds: int  # largest number of them


MOODS = {
    "day": Mood(0.48, (74, 144, 217), (190, 221, 242), (1.0, 1.0, 1.0), 300.0, 0.36, 0.0, 6),
    "overcast": Mood(
        0.15, (146, 163, 186), (198, 210, 222), (0.88, 0.89, 0.92), 220.0, 0.2, 0.03, 8
    ),
    "dusk": Mood(0.15, (84, 72, 140), (255, 176, 110), (1.0, 0.84, 0.76), 260.0, 0.32, 0.35, 5),
    "night": Mood(0.09, (8, 12, 36), (34, 42, 80), (0.6, 0.62, 0.8), 300.0, 0.22, 0.55, 2),
    "rain": Mood(0.07, (104, 118, 138), (164, 176, 188), (0.76, 0.78, 0.82), 150.0, 0.12, 0.15, 6),
    "fog": Mood(0.06, (196, 204, 212), (218, 223, 228), (0.94, 0.94, 0.95), 60.0, 0.08, 0.05, 0),
}

# A circle's points, so that shadows and wheels can be drawn in perspective.
CIRCLE = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.arange(12) * (np.pi / 6))


class Dice:
    """Random choices of one scene."""

    def __init__(self, seed: int, number: int):
        self._rng = np.random.Generator(np.random.PCG64([seed, number]))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * float(self._rng.random())

    def chance(self, probability: float) -> bool:
        return float(self._rng.random()) < probability

    def count(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
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


class Canvas:
    """A picture and its id map, drawn by the same calls at twice the final size.

    Lengths are in units. A picture of any size holds as many square units as the reference size has
    pixels, so that a scene has the same number of things at any size.
    """

    def __init__(self, size: tuple[int, int]):
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
        self.drawn_id = VOID  # the id that drawn pixels get

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        f = self._factor
        corners = [(x * f, y * f) for x, y in points]
        self._draw.polygon(corners, fill=color)
        self._mark.polygon(corners, fill=self.drawn_id)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        f = self._factor
        box = ((x - rx) * f, (y - ry) * f, (x + rx) * f, (y + ry) * f)
        self._draw.ellipse(box, fill=color)
        self._mark.ellipse(box, fill=self.drawn_id)

    def pie(
        self, x: float, y: float, rx: float, ry: float, start: float, end: float, color: Color
    ) -> None:
        """Draw a part of an ellipse, from `start` to `end` degrees clockwise from the right."""
        f = self._factor
        box = ((x - rx) * f, (y - ry) * f, (x + rx) * f, (y + ry) * f)
        self._draw.pieslice(box, start, end, fill=color)
        self._mark.pieslice(box, start, end, fill=self.drawn_id)

    def outline(self, project: Projection, corners: Sequence[Point], color: Color) -> None:
        """Draw a polygon whose corners `project` maps into the picture."""
        self.polygon([project(a, b) for a, b in corners], color)

    def shadow(self, points: Sequence[Point]) -> None:
        """Draw where the sun does not reach the ground; visible after `texture` was called."""
        f = self._factor
        self._shade.polygon([(x * f, y * f) for x, y in points], fill=255)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        self.polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), color)

    def texture(self, scene: "View", noise: np.random.Generator) -> None:
        """Add grain to what was drawn so far, and haze and shadows to the ground."""
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
            add_glow(pixels, glow, self._factor, ids == SKY)

        is_ground = (ids >= ROAD) & (ids <= GRASS)
        below = (np.arange(rows) + 0.5) / self._factor - scene.horizon
        depth = FOCAL * scene.camera / np.maximum(below, FOCAL * scene.camera / FARTHEST)
        keep = np.round(256 * scene.mood.haze / (scene.mood.haze + depth)).astype(np.int32)
        # In 32 bits: a plain 256 would make whole pictures of 64.
        bright, dark = np.int32(256), np.int32(round(256 * (1 - scene.mood.shadow)))
        light = np.where((np.asarray(self.shadows) > 0) & is_ground, dark, bright)
        keep_ground = np.where(is_ground, keep[:, None], bright)
        haze = np.asarray(scene.mood.horizon, np.int32)
        mixed = pixels * ((keep_ground * light) >> 8)[:, :, None]
        mixed += (256 - keep_ground)[:, :, None] * haze
        mixed >>= 8
        self.image = Image.fromarray(mixed.clip(0, 255, out=mixed).astype(np.uint8))
        self._draw = ImageDraw.Draw(self.image)

    def finish(self, scene: "View", noise: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture (3, h, w) and the id of each pixel (h, w)."""
        fine = np.asarray(self.image).astype(np.int16)
        pixels = fine[0::2, 0::2] + fine[0::2, 1::2] + fine[1::2, 0::2] + fine[1::2, 1::2] + 2 >> 2
        height, width = self.size
        for glow in scene.glows:
            add_glow(pixels, glow, self.scale)
        if scene.is_raining:
            pixels += self._rain(noise)[:, :, None]
        pixels += noise.integers(-3, 4, (height, width, 3), dtype=np.int16)
        image = np.clip(pixels, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(image.transpose(2, 0, 1)), majority_ids(np.asarray(self.ids))

    def _rain(self, noise: np.random.Generator) -> np.ndarray:
        height, width = self.size
        streaks = Image.new("L", (width, height))
        draw = ImageDraw.Draw(streaks)
        length = 9 * self.scale
        for u, v, strength in noise.random((110, 3)).tolist():
            x, y = u * 1.1 * width, v * 1.1 * height - length
            draw.line((x, y, x - 0.3 * length, y + length), fill=18 + int(30 * strength))
        return np.asarray(streaks).astype(np.int16)


# How strong the noise of a class is, in eighths; the index is the id used while drawing.
FINE_GRAIN, COARSE_GRAIN = np.zeros(256, np.int16), np.zeros(256, np.int16)
FINE_GRAIN[[SKY, BUILDING, ROAD, SIDEWALK, GRASS]] = 1, 5, 6, 5, 14
COARSE_GRAIN[[SKY, BUILDING, ROAD, SIDEWALK, GRASS]] = 1, 2, 3, 2, 8


def add_glow(
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


def majority_ids(ids: np.ndarray) -> np.ndarray:
    """Return each pixel's most frequent id among its four drawn pixels; in a tie the highest."""
    four = np.stack([ids[0::2, 0::2], ids[0::2, 1::2], ids[1::2, 0::2], ids[1::2, 1::2]])
    low01, high01 = np.minimum(four[0], four[1]), np.maximum(four[0], four[1])
    low23, high23 = np.minimum(four[2], four[3]), np.maximum(four[2], four[3])
    middle = np.minimum(high01, high23), np.maximum(low01, low23)
    lowest, highest = np.minimum(low01, low23), np.maximum(high01, high23)
    second, third = np.minimum(*middle), np.maximum(*middle)
    # In sorted order a majority is in the middle; two pairs, or four different ids, are ties.
    return np.where(
        second == third, second, np.where((lowest == second) & (third != highest), lowest, highest)
    )


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of the ground, in metres: across, and ahead of the camera."""

    x0: float
    x1: float
    z0: float
    z1: float


@dataclass(slots=True)
class Item:
    """Something that stands on the ground; items are drawn in order of depth."""

    z: float
    name: str | None  # of its thing category; None is void
    draw: Callable[[], None]
    footprint: Patch
    box: Box  # in the picture, approximately


@dataclass
class View:
    """One scene: where its camera stands, how it is lit, and what stands in it so far."""

    canvas: Canvas
    dice: Dice
    names: list[str] = field(default_factory=list)  # category of each thing, in order of drawing
    glows: list[tuple[float, float, float, Color]] = field(default_factory=list)
    sky_glows: list[tuple[float, float, float, Color]] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)

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

    def at(self, x: float, y: float, z: float) -> Point:
        """Project a point: metres right of the camera, above the ground, ahead."""
        m = FOCAL / z
        return self.vanish + x * m, self.horizon + (self.camera - y) * m

    def across(self, z: float, margin: float = 0.0) -> tuple[float, float]:
        """Return the left and right end of the view at a depth, in metres right of the camera."""
        m = FOCAL / z
        return (-margin - self.vanish) / m, (self.canvas.width + margin - self.vanish) / m

    def lit(self, color: Color, z: float, shade: float = 1.0) -> Color:
        """Return a color as the scene's light and the haze at this depth leave it."""
        keep = self.mood.haze / (self.mood.haze + z)
        lost = 1 - keep
        (r, g, b), light, far = color, self.mood.light, self.mood.horizon
        # Written out for each channel: it is called 500 times a scene.
        r = round(keep * r * shade * light[0] + lost * far[0])
        g = round(keep * g * shade * light[1] + lost * far[1])
        b = round(keep * b * shade * light[2] + lost * far[2])
        if r > 255 or g > 255 or b > 255 or r < 0 or g < 0 or b < 0:
            return min(255, max(0, r)), min(255, max(0, g)), min(255, max(0, b))
        return r, g, b

    def shining(self, color: Color, z: float) -> Color:
        """Return the color of a lamp: no light but its own, and less haze."""
        keep = self.mood.haze / (self.mood.haze + 0.5 * z)
        r, g, b = (
            round(keep * c + (1 - keep) * far)
            for c, far in zip(color, self.mood.horizon, strict=True)
        )
        return r, g, b

    def glow(self, at: Point, radius: float, color: Color, strength: float) -> None:
        r, g, b = (int(strength * c) for c in color)
        self.glows.append((at[0], at[1], radius, (r, g, b)))

    def begin(self, name: str) -> None:
        """Start a new thing: what is drawn from now on gets its id."""
        self.canvas.drawn_id = FIRST_THING + len(self.names)
        self.names.append(name)

    def quad(self, patch: Patch, color: Color) -> None:
        """Draw a rectangle that lies on the ground."""
        z0, z1 = max(patch.z0, NEAREST), min(patch.z1, FARTHEST)
        if z0 >= z1:
            return
        self.canvas.polygon(
            (self.at(patch.x0, 0, z0), self.at(patch.x1, 0, z0),
             self.at(patch.x1, 0, z1), self.at(patch.x0, 0, z1)),
            color,
        )  # fmt: skip

    def flat(self, color: Color, shade: float = 1.0) -> Color:
        """Return a color in the scene's light, without haze: the ground gets haze row by row."""
        r, g, b = (
            min(255, round(c * shade * light))
            for c, light in zip(color, self.mood.light, strict=True)
        )
        return r, g, b

    def is_free(self, patch: Patch, box: Box, gap: float) -> bool:
        """Return whether `patch` is free, and `box` would neither hide nor be hidden too much."""
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

    def box(self, x: float, z: float, half: float, height: float) -> Box:
        """Return the box, in the picture, of something upright."""
        return (*self.at(x - half, height, z), *self.at(x + half, 0, z))

    def footprint(self, x: float, z: float, half: float) -> Patch:
        return Patch(x - 0.8 * half, x + 0.8 * half, z - 0.3, z + 0.3)

    def stand(
        self, z: float, name: str | None, patch: Patch, box: Box, draw: Callable[[], None]
    ) -> None:
        """Add an item that occupies `patch`; `draw` is called in order of depth."""
        self.items.append(Item(z, name, draw, patch, box))

    def cast(self, x: float, z: float, half: float, height: float) -> None:
        """Draw a shadow on the ground: dark under the thing, and stretched away from the sun."""
        for reach, wide in ((0.0, 1.0), (0.5, 0.8)):
            cx, cz = x + self.sun[0] * height * reach, z + self.sun[1] * height * reach
            long_x = half * wide + abs(self.sun[0]) * height * reach
            long_z = half * 0.5 * wide + abs(self.sun[1]) * height * reach
            self.canvas.shadow(
                [self.at(cx + long_x * c, 0, max(1.0, cz + long_z * s)) for c, s in CIRCLE]
            )

    def cast_block(self, patch: Patch, height: float) -> None:
        """Draw the shadow of a house on the ground."""
        dx, dz = self.sun[0] * height, self.sun[1] * height
        corners = [
            (patch.x0, patch.z0), (patch.x1, patch.z0), (patch.x1, patch.z1), (patch.x0, patch.z1)
        ]  # fmt: skip
        for (xa, za), (xb, zb) in zip(corners, corners[1:] + corners[:1], strict=True):
            strip = ((xa, za), (xb, zb), (xb + dx, zb + dz), (xa + dx, za + dz))
            self.canvas.shadow([self.at(x, 0, max(NEAREST, z)) for x, z in strip])

    def local(self, x: float, z: float, flip: float = 1.0) -> Projection:
        """Return the projection of an upright plane through (x, z) that faces the camera."""
        foot_x, foot_y = self.at(x, 0, z)
        m = FOCAL / z
        return lambda a, b: (foot_x + flip * a * m, foot_y - b * m)
