"""Forms, textures and backgrounds of the miniature data sets: geometry by shapely, pixels by OpenCV and numpy.

Everything is a function of the random generator that is passed in, so an image depends on its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from numpy.random import Generator
from shapely import affinity
from shapely.geometry import Polygon

# Shapes are drawn on a canvas this many times finer and averaged down: smooth edges, exact to a quarter of a pixel.
SUPERSAMPLE = 4
# Part of each single object that those on top of it leave to be seen.
MIN_VISIBLE = 0.45


def _regular(corners: int, start: float = 0.0) -> np.ndarray:
    angles = start + np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star(points: int = 5, inner: float = 0.42) -> np.ndarray:
    radii = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return _regular(2 * points) * radii[:, None]


def _cross(arm: float = 0.34) -> np.ndarray:
    corner = [(1, -arm), (1, arm), (arm, arm)]
    turns = ([(x, y), (-y, x), (-x, -y), (y, -x)] for x, y in corner)
    quarters = list(zip(*turns, strict=True))
    return np.array([point for quarter in quarters for point in quarter])


def _crescent() -> np.ndarray:
    moon = Polygon(_regular(40)).difference(Polygon(_regular(40) * 0.85 + (0.55, 0)))
    return np.array(moon.exterior.coords)[:-1]


def _arrow() -> np.ndarray:
    return np.array([(1, 0), (0.1, 0.8), (0.1, 0.3), (-0.9, 0.3), (-0.9, -0.3), (0.1, -0.3), (0.1, -0.8)])


# Outline of each form within the unit circle, as N x 2 points (x, y).
FORMS: dict[str, np.ndarray] = {
    'circle': _regular(40),
    'square': _regular(4),
    'triangle': _regular(3),
    'star': _star(),
    'cross': _cross(),
    'crescent': _crescent(),
    'arrow': _arrow(),
    'hexagon': _regular(6),
}
TEXTURES = ('dots', 'checks', 'stripes', 'plain', 'rings')
# How often an object has the texture of its form (the one at its place, counted round) and the hue of its class, and
# not just any: without such help a transformer needs far more than minutes to tell forms apart.
_OWN_TEXTURE = 0.75
_OWN_HUE = 0.9


@dataclass(frozen=True)
class Shape:
    """One form as placed in an image.

    Attributes:
        outline: Its polygon in pixels, before occlusion and not cut at the image's edge.
        angle: Its rotation in radians; the texture turns with it.
        colours: Two RGB colours (2 x 3, 0 to 255) for the texture.
        texture: One of ``TEXTURES``.
    """

    outline: Polygon
    angle: float
    colours: np.ndarray
    texture: str


def random_colour(rng: Generator, hue: float) -> np.ndarray:
    """A saturated RGB colour as 3 floats from 0 to 255, mostly near the given hue (0 to 1)."""
    hue = (hue + rng.normal(0, 0.02)) % 1 if rng.uniform() < _OWN_HUE else rng.uniform()
    hsv = np.array([[[hue * 179, rng.uniform(110, 255), rng.uniform(110, 255)]]], dtype=np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


def random_shape(rng: Generator, form: str, centre: tuple[float, float], radius: float, hue: float) -> Shape:
    """A form of FORMS at ``centre`` (x, y), stretched and turned at random, mostly in its own texture and hue."""
    stretch = rng.uniform(0.8, 1.25) ** 0.5
    angle = rng.uniform(0, 2 * np.pi)
    outline = affinity.scale(Polygon(FORMS[form]), radius * stretch, radius / stretch, origin=(0, 0))
    outline = affinity.rotate(outline, angle, origin=(0, 0), use_radians=True)
    outline = affinity.translate(outline, *centre)
    first = random_colour(rng, hue)
    second = first * rng.uniform(0.25, 0.6) if rng.uniform() < 0.5 else 255 - (255 - first) * rng.uniform(0.25, 0.6)
    own = TEXTURES[list(FORMS).index(form) % len(TEXTURES)]
    texture = own if rng.uniform() < _OWN_TEXTURE else str(rng.choice(TEXTURES))
    return Shape(outline, angle, np.stack([first, second]), texture)


def background(rng: Generator, height: int, width: int) -> np.ndarray:
    """A textured and noisy ground as float RGB of height x width x 3, values 0 to 255: clouds, lines, grain."""
    base = rng.uniform(50, 205) + rng.normal(0, 20, 3)
    image = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    for cells in (2, 5, 12):
        # Light varies more than colour does.
        coarse = rng.normal(0, 50, (cells, cells, 1)) + rng.normal(0, 20, (cells, cells, 3))
        coarse = (coarse / cells**0.7).astype(np.float32)
        image = image + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(image)
    for _ in range(int(rng.integers(0, 7))):
        start, stop = (tuple(int(v) for v in rng.uniform(0, 1, 2) * (width, height)) for _ in range(2))
        colour = (base + rng.uniform(-60, 60) + rng.normal(0, 20, 3)).tolist()
        cv2.line(image, start, stop, colour, int(rng.integers(1, 4)), cv2.LINE_AA)
    return image + rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.float32)


def _pattern(shape: Shape, x: np.ndarray, y: np.ndarray, period: float) -> np.ndarray:
    """Weight of the second colour, 0 to 1, at image coordinates x and y."""
    if shape.texture == 'plain':
        return np.zeros(np.broadcast(x, y).shape)
    if shape.texture == 'rings':
        centre = shape.outline.centroid
        return np.floor(np.hypot(x - centre.x, y - centre.y) / period) % 2
    cos, sin = np.cos(shape.angle), np.sin(shape.angle)
    u, v = (cos * x + sin * y) / period, (cos * y - sin * x) / period
    if shape.texture == 'stripes':
        return np.broadcast_to(np.floor(u) % 2, np.broadcast(x, y).shape)
    if shape.texture == 'checks':
        return (np.floor(u) + np.floor(v)) % 2
    return (np.hypot(u % 2 - 1, v % 2 - 1) < 0.6).astype(float)


def coverage(shape: Shape, height: int, width: int) -> tuple[np.ndarray, int, int]:
    """How much of each pixel a shape covers, 0 to 1, for the part of the image around it.

    Returns:
        The part as rows x columns, and its left and upper edge in the image.
    """
    left, top, right, bottom = shape.outline.bounds
    x0, y0 = max(int(left) - 1, 0), max(int(top) - 1, 0)
    x1, y1 = min(int(right) + 2, width), min(int(bottom) + 2, height)
    points = (np.array(shape.outline.exterior.coords) - (x0, y0)) * SUPERSAMPLE - 0.5
    canvas = np.zeros(((y1 - y0) * SUPERSAMPLE, (x1 - x0) * SUPERSAMPLE), np.uint8)
    cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 255)
    return cv2.resize(canvas, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA) / 255.0, x0, y0


def draw(image: np.ndarray, shape: Shape, rng: Generator) -> None:
    """Paint ``shape`` over ``image`` (float RGB, in place), its edge smooth to a fraction of a pixel."""
    alpha, x0, y0 = coverage(shape, *image.shape[:2])
    y1, x1 = y0 + alpha.shape[0], x0 + alpha.shape[1]
    alpha = alpha[..., None]
    x, y = np.arange(x0, x1)[None] + 0.5, np.arange(y0, y1)[:, None] + 0.5
    period = max((shape.outline.area**0.5) / rng.uniform(4, 7), 2.0)
    mix = _pattern(shape, x, y, period)[..., None]
    paint = shape.colours[0] * (1 - mix) + shape.colours[1] * mix
    light = rng.uniform(-0.25, 0.25, 2)
    shade = 1 + light[0] * (x - x.mean()) / max(x1 - x0, 1) + light[1] * (y - y.mean()) / max(y1 - y0, 1)
    crop = image[y0:y1, x0:x1]
    crop[:] = crop * (1 - alpha) + paint * shade[..., None] * alpha


def visible_parts(outlines: list[Polygon], height: int, width: int) -> list[list[Polygon]]:
    """What is left of each outline after those later in the list and the image's edge have cut it.

    Returns:
        For each outline its polygons with an area, largest first; an empty list where nothing is left.
    """
    frame = shapely.box(0, 0, width, height)
    parts = []
    cover = Polygon()
    for outline in reversed(outlines):
        rest = outline.intersection(frame).difference(cover)
        pieces = [piece for piece in shapely.get_parts(rest) if isinstance(piece, Polygon) and piece.area >= 1]
        parts.append(sorted(pieces, key=lambda piece: -piece.area))
        cover = cover.union(outline)
    return parts[::-1]


def random_size(rng: Generator, longer: int) -> tuple[int, int]:
    """(height, width) of an image: landscape, portrait or square."""
    short = round(longer * 0.75)
    return ((short, longer), (longer, short), (longer, longer))[int(rng.choice(3, p=(0.5, 0.25, 0.25)))]


def place(rng: Generator, form: str, hue: float, placed: list[Shape], height: int, width: int) -> Shape | None:
    """A new shape on top that leaves enough to see of all the others, or None after some tries."""
    side = min(height, width)
    for _ in range(20):
        radius = side * rng.uniform(0.11, 0.30)
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        shape = random_shape(rng, form, centre, radius, hue)
        outlines = [other.outline for other in placed] + [shape.outline]
        parts = visible_parts(outlines, height, width)
        seen = all(
            sum(part.area for part in own) > MIN_VISIBLE * outline.area
            for outline, own in zip(outlines, parts, strict=True)
        )
        # A polygon of COCO cannot have a hole, so no shape may lie wholly inside another.
        if seen and not any(part.interiors for own in parts for part in own):
            return shape
    return None


def crowd(rng: Generator, form: str, hue: float, height: int, width: int) -> list[Shape]:
    """A group of small shapes of one form that touch and overlap."""
    side = min(height, width)
    middle = rng.uniform(0.2, 0.8, 2) * (width, height)
    spots = middle + rng.normal(0, 0.09 * side, (int(rng.integers(6, 12)), 2))
    spots = np.clip(spots, 0.04 * side, np.array([width, height]) - 0.04 * side)
    return [random_shape(rng, form, (float(x), float(y)), side * rng.uniform(0.035, 0.06), hue) for x, y in spots]
