"""Things in front of a face: hands, scarves, microphones, hair, cups, phones, bars, boxes, strokes."""

from collections.abc import Callable, Mapping

import numpy as np

from facemend.alignment import Points
from facemend.images import Image
from facemend.occlusion.canvas import (
    Canvas,
    Colour,
    Field,
    Part,
    Region,
    Sketch,
    blurred,
    coverage_of,
    grain,
    look_up,
    noise_table,
    nothing,
    pick,
    region_around,
)
from facemend.occlusion.geometry import (
    FaceGeometry,
    box,
    curve,
    ellipse,
    line,
    rounded_box,
    smooth_outline,
    turned,
)
from facemend.occlusion.light import (
    HAIR,
    SKIN,
    cloth_colour,
    hair_of,
    light_of,
    palette,
    scaled,
    shifted,
    skin_of,
)
from facemend.occlusion.textures import BENCHMARK_PATTERNS, PATTERNS, WORDS, Pattern
from facemend.occlusion.types import Extent, Layer, Parameter


def hand(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """A hand with a forearm, from below or from a side: over mouth, cheek, chin or an eye."""
    skin = skin_of(image, face)
    if rng.random() < 0.2:
        skin = shifted(SKIN[int(rng.integers(len(SKIN)))], rng, 10)
    skin = shifted(skin, rng, 10)
    size = rng.uniform(0.85, 1.25)
    side = float(rng.choice([-1, 1]))
    goal = pick(
        rng,
        {(0.0, 192.0): 4.0, (38.0, 178.0): 3.0, (22.0, 222.0): 2.0, (28.0, 132.0): 1.5, (0.0, 110.0): 0.7},
    )
    # The palm's middle in canonical pixels, and which way the fingers point: 0 is up.
    palm_x, palm_y = 127 + side * goal[0] + rng.normal(0, 5), goal[1] + rng.normal(0, 6)
    degrees = -side * rng.uniform(5, 85)
    if goal[0] == 0 and rng.random() < 0.6:
        degrees = -side * rng.uniform(50, 100)
    spread = rng.uniform(0.2, 3.5)
    bent = rng.uniform(0.55, 1.0)
    parts: list[Part] = []
    wrist = np.array([(-13, 20), (13, 20), (18, 150), (-18, 150)], dtype=np.float64) * size
    parts.append((wrist, scaled(skin, 0.72)))
    parts.append((wrist * (0.8, 1), scaled(skin, 0.9)))
    if rng.random() < 0.55:
        sleeve, _ = cloth_colour(rng)
        cuff = np.array([(-20, 62), (20, 62), (26, 150), (-26, 150)], dtype=np.float64) * size
        parts += [(cuff, scaled(sleeve, 0.8)), (cuff * (0.75, 1), sleeve)]
    palm = smooth_outline(
        np.array(
            [(-19, -16), (0, -20), (19, -15), (21, 6), (14, 27), (-13, 27), (-21, 5)], dtype=np.float64
        ),
        5,
    )
    for share, factor in ((1.0, 0.66), (0.93, 0.86), (0.75, 0.97), (0.45, 1.03)):
        parts.append((palm * share * size, scaled(skin, factor)))
    lengths = np.array([30, 37, 34, 26]) * bent * size
    for number, (length, x) in enumerate(zip(lengths, (-14.5, -5, 5, 14), strict=True)):
        lean = (number - 1.5) * spread + rng.normal(0, 1.2)
        path = curve(
            (x * size, -10 * size),
            (x * size + lean, -10 * size - 0.5 * length),
            (x * size + 2.2 * lean, -12 * size - length),
            13,
        )
        parts += _finger(path, 10.2 * size * rng.uniform(0.94, 1.04), skin, rng)
    thumb_x = -1.0
    path = curve(
        (thumb_x * 12 * size, 14 * size),
        (thumb_x * 26 * size, 4 * size),
        (thumb_x * rng.uniform(20, 34) * size, -18 * size),
        13,
    )
    parts += _finger(path, 11.5 * size, skin, rng)
    moved = []
    for points, colour in parts:
        placed = points * (side, 1)
        placed = turned(placed, (0.0, 0.0), degrees) + (palm_x, palm_y)
        moved.append((placed, colour))
    return moved


def draw_grip(
    image: Image, face: FaceGeometry, x: float, y: float, side: float, rng: np.random.Generator
) -> list[Part]:
    """Four fingers that reach from one side (-1 left, 1 right) around something at (x, y)."""
    skin = shifted(skin_of(image, face), rng, 8)
    parts: list[Part] = [(ellipse(x + side * 16, y + 14, 20, 27), scaled(skin, 0.8))]
    for finger in range(4):
        top = y - 10 + finger * 11.5
        path = curve((x + side * 26, top + 6), (x, top - 3), (x - side * rng.uniform(12, 17), top + 3), 13)
        parts += _finger(path, 11.0, skin, rng)
    return parts


def _finger(path: Points, width: float, skin: Colour, rng: np.random.Generator) -> list[Part]:
    """A finger along a path that ends at its tip: dark sides, a lit back, now and then a nail."""
    places = (0, 0.5, 0.8, 0.92, 1)
    profile = np.interp(np.linspace(0, 1, len(path)), places, (1.05, 1.0, 0.92, 0.66, 0.2)) * width
    tip, along = path[-1], path[-1] - path[-3]
    along = along / max(float(np.hypot(*along)), 1e-6)
    shades = ((1.0, 0.62), (0.86, 0.84), (0.6, 0.98), (0.28, 1.06))
    layers: list[Part] = [(line(path, profile * share), scaled(skin, factor)) for share, factor in shades]
    if rng.random() < 0.5:
        nail = shifted((214, 150, 140) if rng.random() < 0.6 else (170, 30, 50), rng, 20)
        at = tip - along * 0.34 * width
        layers.append((ellipse(at[0], at[1], 0.24 * width, 0.28 * width, 12), nail))
    return layers


def hair_colour(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Colour:
    """This face's own, in nine cases of ten, if it is not lighter than skin, else any."""
    own, other = hair_of(image, face), shifted(HAIR[int(rng.integers(len(HAIR)))], rng, 12)
    return own if rng.random() < 0.9 and sum(own) < sum(skin_of(image, face)) else other


def draw_strands(
    colour: Colour, start: tuple[float, float], end: tuple[float, float], rng: np.random.Generator,
    count: int, spread: float, width: float,
) -> list[Part]:  # fmt: skip
    """Strands from about `start` to about `end` in shades of one colour.

    Args:
        spread: how far they run apart, canonical pixels.
        width: of one strand in the middle, canonical pixels.
    """
    sway = rng.normal(0, (0.8 * spread + 6, 0.3 * spread + 2))
    chance = rng.normal(0, 1, (count, 1, 8))
    a, c = np.array(start) + chance[..., :2] * spread / 2, np.array(end) + chance[..., 2:4] * spread
    b = (np.array(start) + np.array(end)) / 2 + sway + chance[..., 4:6] * (spread / 3, spread / 8)
    t = np.linspace(0, 1, _STEPS)[None, :, None]
    paths = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
    along = 2 * (1 - t) * (b - a) + 2 * t * (c - b)
    thick = width * (1 + 0.3 * chance[..., 6:7]).clip(0.4, 1.5) * _TAPER / 2
    reach = thick / np.maximum(np.hypot(along[..., :1], along[..., 1:]), 1e-6)
    aside = np.concatenate([-along[..., 1:], along[..., :1]], axis=2) * reach
    outlines = np.concatenate([paths + aside, (paths - aside)[:, ::-1]], axis=1)
    shades = (1 + 0.22 * chance[:, 0, 7]).clip(0.6, 1.4)
    return [
        (outline, scaled(colour, shade)) for outline, shade in zip(outlines, shades.tolist(), strict=True)
    ]


_STEPS = 9
_TAPER = np.interp(np.linspace(0, 1, _STEPS), (0, 0.5, 1), (0.7, 1.0, 0.15))[None, :, None]


def own_hair(image: Image, region: Region) -> Field | None:
    """Where this face's own hair hangs beside the cheeks, as far as its colour tells: (h, w), 0-1.

    Only what reaches in from the side counts, so that brows, lips and shadows do not.

    Returns:
        None where hair is not much darker than skin.
    """
    skin = np.array(skin_of(image, region.face), dtype=np.float32)
    hair = np.array(hair_of(image, region.face), dtype=np.float32)
    axis = hair - skin
    distance = float((axis * axis).sum())
    if distance < 3 * 60**2 or hair.sum() > skin.sum():
        return None
    pixels = region.planes(image)
    along = sum((pixels[band] - skin[band]) * (axis[band] / np.float32(distance)) for band in range(3))
    aside = np.abs(region.x - np.float32(127))
    beyond = aside > 66
    alike = ((along - np.float32(0.66)) * 5).clip(0, 1)
    hanging = np.maximum(alike * ((aside - 30) * np.float32(0.1)).clip(0, 1), beyond)
    middle = int(np.abs(region.x[region.height_px // 2] - 127).argmin())
    # Before the cheeks, what is hair must be hair all the way to the side.
    np.minimum.accumulate(hanging[:, :middle], axis=1, out=hanging[:, :middle])
    outwards = hanging[:, middle:][:, ::-1]
    np.minimum.accumulate(outwards, axis=1, out=outwards)
    return blurred(np.where(beyond, alike, hanging), 0.7 * min(region.face.unit_px, 4.0))


def object_(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """One of OBJECTS in front of the face, 4-20% of a canonical crop."""
    return _draw_object(image, face, rng, PATTERNS)


def benchmark_object(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """An `object_` whose scarves have BENCHMARK_PATTERNS."""
    return _draw_object(image, face, rng, BENCHMARK_PATTERNS)


def _draw_object(
    image: Image, face: FaceGeometry, rng: np.random.Generator, patterns: Mapping[Pattern, float]
) -> Layer:
    name = pick(rng, {"scarf": 1.1, "bar": 0.9, **{name: weight for name, (weight, _) in OBJECTS.items()}})
    if name == "scarf":
        return _draw_scarf(image, face, rng, patterns)
    face = face.rigid
    if name == "bar":
        return _draw_bar(image, face, rng)
    parts = OBJECTS[name][1](image, face, rng)
    flat = name in ("box", "strokes")
    parameters: dict[str, Parameter] = {"object": name}
    region = region_around(face, np.concatenate([points for points, _ in parts]), image, 3 if flat else 9)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    sketch = Sketch(region)
    sketch.polygons(parts)
    canvas = Canvas(region)
    if flat:
        canvas.lay_sketch(sketch)
        return canvas.finish(image, Extent.PARTIAL, parameters, softness=float(rng.choice([0.0, 0.5])))
    light = light_of(image, region, rng)
    exposure = 1.0 if name in ("hand", "hair") else light.exposure
    lit = light.field * np.float32(exposure)
    if name != "hair":
        _lay_shadow(canvas, image, parts, rng)
    canvas.lay_sketch(sketch, lit)
    softness = rng.uniform(0.8, 1.8) if name == "hand" else rng.uniform(0.35, 1.2)
    noise = grain(region, rng, rng.uniform(0, 5))
    return canvas.finish(image, Extent.PARTIAL, parameters, softness=softness, noise=noise)


def _lay_shadow(canvas: Canvas, image: Image, parts: list[Part], rng: np.random.Generator) -> None:
    """A soft shadow beside and under the object."""
    strength = rng.uniform(0.0, 0.5)
    if strength < 0.08:
        return
    sketch = Sketch(canvas.region)
    shift = np.array([rng.uniform(-4, 4), rng.uniform(0, 5)])
    sketch.polygons([(points + shift, (0, 0, 0)) for points, _ in parts])
    at, planes = sketch.finish()
    coverage = np.zeros_like(canvas.region.x)
    coverage[at] = planes[3] * np.float32(1 / 255)
    shadow = blurred(coverage, 2.5 * min(canvas.region.face.unit_px, 16.0))
    canvas.lay_shadow(image, np.float32(strength) * shadow)


def _microphone(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """A microphone from below, its head before the mouth or the chin. A hand may hold it."""
    radius = rng.uniform(21, 29)
    x, y = 127 + rng.normal(0, 14), rng.uniform(196, 226)
    degrees = rng.normal(0, 26)
    head = pick(
        rng,
        {
            (40, 40, 44): 4.0,
            (120, 122, 126): 3.0,
            (180, 182, 186): 1.5,
            (20, 20, 24): 3.0,
            (190, 40, 44): 0.6,
        },
    )
    head = shifted(head, rng, 10)
    body = shifted((34, 34, 38) if rng.random() < 0.75 else (150, 150, 156), rng, 10)
    parts: list[Part] = []
    for share, factor in ((1.0, 0.8), (0.7, 1.1), (0.3, 1.4)):
        near, far = 0.62 * radius * share, 0.42 * radius * share
        handle = np.array([(-near, 0), (near, 0), (far, 130), (-far, 130)], dtype=np.float64)
        parts.append((handle, scaled(body, factor)))
    foam = rng.random() < 0.4
    for share, factor in ((1.0, 0.55), (0.9, 0.8), (0.7, 1.0), (0.42, 1.25)):
        shift = -(1 - share) * 0.35 * radius
        parts.append(
            (ellipse(shift, -4 + shift, radius * share, radius * share * 1.08), scaled(head, factor))
        )
    if not foam:
        parts.append(
            (rounded_box(-0.9 * radius, 0.5 * radius, 0.9 * radius, 0.78 * radius, 2), scaled(head, 0.5))
        )
        for row in np.arange(-0.7, 0.5, 0.16):
            half = radius * float(np.sqrt(max(0.0, 1 - row * row))) * 0.86
            mesh = curve((-half, row * radius), (0, row * radius + 3), (half, row * radius), 6)
            parts.append((line(mesh, 0.8), scaled(head, 0.62)))
    parts = [(turned(points, (0.0, 0.0), degrees) + (x, y), colour) for points, colour in parts]
    if rng.random() < 0.5:
        parts += draw_grip(
            image,
            face,
            x + 46 * -np.sin(np.radians(degrees)),
            y + 46 * np.cos(np.radians(degrees)),
            float(rng.choice([-1, 1])),
            rng,
        )
    return parts


def _hair(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """Locks that fall over an eye, a cheek or half the face, all from one side's parting."""
    colour = hair_colour(image, face, rng)
    side = float(rng.choice([-1, 1]))
    parts: list[Part] = []
    for _ in range(int(rng.integers(2, 5))):
        from_middle = rng.uniform(0, 48)
        start = (127 + side * from_middle, rng.uniform(36, 76))
        end = (127 + side * (from_middle + rng.uniform(-14, 20)), rng.uniform(145, 225))
        count, spread, width = int(rng.integers(16, 40)), rng.uniform(4, 9), rng.uniform(1.2, 2.6)
        parts += draw_strands(colour, start, end, rng, count, spread, width)
    return parts


def _cup(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """A cup, mug or glass before the mouth, tilted as one drinks."""
    colour, _ = cloth_colour(rng)
    width, height = rng.uniform(24, 36), rng.uniform(52, 84)
    taper, top = rng.uniform(0.68, 1.0), rng.uniform(-34, -14)
    parts: list[Part] = []
    if rng.random() < 0.45:
        ring = ellipse(width * 0.95, top + height * 0.5, 15, height * 0.3)
        parts.append((line(np.concatenate([ring, ring[:1]]), 6.5), scaled(colour, 0.78)))
    for left, right, factor in ((-1, 1, 0.62), (-0.86, 0.9, 0.84), (-0.7, 0.55, 1.0), (-0.45, -0.1, 1.12)):
        body = np.array(
            [
                (left * width, top),
                (right * width, top),
                (right * width * taper, top + height),
                (left * width * taper, top + height),
            ]
        )
        parts.append((body, scaled(colour, factor)))
    foot = ellipse(0, top + height, width * taper, 6)
    parts.append((foot, scaled(colour, 0.7)))
    kind = pick(rng, {"mug": 3.0, "lid": 2.0, "sleeve": 1.5})
    if kind == "lid":
        lid = (240, 240, 238) if rng.random() < 0.6 else (30, 30, 32)
        parts.append((rounded_box(-width * 1.08, top - 7, width * 1.08, top + 4, 4), lid))
        parts.append((rounded_box(-width * 0.9, top - 12, width * 0.9, top - 5, 4), scaled(lid, 0.9)))
    elif kind == "sleeve":
        band = np.array([(-0.97, 0.3), (0.97, 0.3), (0.9, 0.75), (-0.9, 0.75)]) * (width, height) + (0, top)
        parts.append((band, shifted((178, 134, 90), rng, 14)))
    else:
        parts.append((ellipse(0, top, width, 7), scaled(colour, 0.9)))
        parts.append((ellipse(0, top, width * 0.88, 5), scaled(colour, 0.5)))
    degrees, x, y = rng.normal(0, 14), 127 + rng.normal(0, 12), rng.uniform(196, 218)
    parts = [(turned(points, (0.0, 0.0), degrees) + (x, y), colour) for points, colour in parts]
    if rng.random() < 0.6:
        side = float(rng.choice([-1, 1]))
        parts += draw_grip(image, face, x + side * width * 0.6, y + 14, side, rng)
    return parts


def _phone(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """A phone at the ear or before the face, with its lenses, and fingers that hold it."""
    colour, _ = cloth_colour(rng)
    if rng.random() < 0.6:
        colour = shifted((24, 24, 28), rng, 8)
    wide, tall = rng.uniform(21, 28), rng.uniform(44, 58)
    body: list[Part] = [
        (rounded_box(-wide - 1.2, -tall - 1.2, wide + 1.2, tall + 1.2, 8), scaled(colour, 0.55)),
        (rounded_box(-wide, -tall, wide, tall, 7), colour),
        (rounded_box(-wide * 0.94, -tall * 0.97, wide * 0.2, tall * 0.97, 6), scaled(colour, 1.08)),
    ]
    if rng.random() < 0.7:
        body.append((rounded_box(-wide + 4, -tall + 5, -wide + 20, -tall + 24, 5), scaled(colour, 0.75)))
        for row in range(int(rng.integers(1, 4))):
            body.append((ellipse(-wide + 12, -tall + 10 + 6.5 * row, 3, 3, 12), (12, 12, 14)))
            body.append((ellipse(-wide + 11.4, -tall + 9.4 + 6.5 * row, 1, 1, 8), (90, 96, 110)))
    side = float(rng.choice([-1, 1]))
    if rng.random() < 0.5:
        x, y, degrees = 127 + side * rng.uniform(44, 58), rng.uniform(165, 185), side * rng.uniform(5, 30)
    else:
        x, y, degrees = 127 + rng.normal(0, 18), rng.uniform(165, 205), rng.normal(0, 14)
    parts = [(turned(points, (0.0, 0.0), degrees) + (x, y), colour) for points, colour in body]
    if rng.random() < 0.75:
        parts += draw_grip(image, face, x + side * wide * 0.8, y + rng.uniform(5, 28), side, rng)
    return parts


def _box(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """One to three boxes of one colour each."""
    parts: list[Part] = []
    for _ in range(int(rng.integers(1, 4))):
        wide, tall = rng.uniform(24, 42), rng.uniform(22, 36)
        x, y = 127 + rng.uniform(-42, 42), rng.uniform(118, 222)
        corners = box(x - wide, y - tall, x + wide, y + tall)
        if rng.random() < 0.4:
            corners = turned(corners, (x, y), rng.uniform(-45, 45))
        parts.append((corners, _flat(rng)))
    return parts


def _strokes(image: Image, face: FaceGeometry, rng: np.random.Generator) -> list[Part]:
    """Free-form strokes of a round brush, as inpainting is tested with."""
    colour = _flat(rng)
    parts: list[Part] = []
    for _ in range(int(rng.integers(2, 4))):
        steps = int(rng.integers(3, 7))
        width = rng.uniform(12, 26)
        point = np.array([127 + rng.uniform(-45, 45), rng.uniform(110, 230)])
        angle = rng.uniform(0, 360)
        knots = [point]
        for _ in range(steps):
            angle += rng.normal(0, 55)
            reach = rng.uniform(16, 42)
            step = turned(np.array([[reach, 0.0]]), (0.0, 0.0), angle)[0]
            knots.append((knots[-1] + step).clip((60, 92), (194, 246)))
        path = np.array(knots)
        # Round joints and ends.
        parts += [(ellipse(x, y, width / 2, width / 2, 16), colour) for x, y in path]
        parts += [(line(path[i : i + 2], width), colour) for i in range(len(path) - 1)]
    return parts


def _flat(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.4:
        return (255, 255, 255) if rng.random() < 0.5 else (0, 0, 0)
    return cloth_colour(rng)[0]


OBJECTS: Mapping[str, tuple[float, Callable[[Image, FaceGeometry, np.random.Generator], list[Part]]]] = {
    "hand": (2.4, hand), "microphone": (1.0, _microphone), "hair": (1.2, _hair), "cup": (1.0, _cup),
    "phone": (1.0, _phone), "box": (0.7, _box), "strokes": (1.2, _strokes),
}  # fmt: skip
"""How often each object is drawn, and what it is made of. Scarves and bars of text come on top."""


def _draw_bar(image: Image, face: FaceGeometry, rng: np.random.Generator) -> Layer:
    """A bar with letters over eyes, nose or mouth, as censors and captions have it."""
    y = pick(rng, {132.0: 3.0, 192.0: 3.0, 162.0: 1.0, 222.0: 1.0}) + rng.normal(0, 4)
    wide, tall = rng.uniform(56, 100), rng.uniform(12, 24)
    ground, ink = palette(rng, 2)
    if rng.random() < 0.6:
        ground, ink = ((0, 0, 0), (250, 250, 250)) if rng.random() < 0.6 else ((250, 250, 250), (0, 0, 0))
    outline = turned(
        box(127 - wide, y - tall, 127 + wide, y + tall), (127, y), rng.choice([0.0, rng.normal(0, 5)])
    )
    parameters: dict[str, Parameter] = {"object": "bar", "colour": ground}
    region = region_around(face, outline, image)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    sketch = Sketch(region)
    sketch.polygons([(outline, ground)])
    if rng.random() < 0.7:
        words = " ".join(WORDS[int(rng.integers(len(WORDS)))] for _ in range(int(rng.integers(1, 4))))
        size = min(1.5 * tall, 2 * wide / (0.62 * len(words) + 0.5))
        sketch.text((127, y), words, size, ink)
    canvas = Canvas(region)
    canvas.lay_sketch(sketch)
    return canvas.finish(image, Extent.PARTIAL, parameters, softness=float(rng.choice([0.0, 0.4])))


def _draw_scarf(
    image: Image, face: FaceGeometry, rng: np.random.Generator, patterns: Mapping[Pattern, float]
) -> Layer:
    """A scarf over chin and mouth, wound two or three times, in thick folds."""
    texture = pick(rng, patterns)(rng)
    top = rng.uniform(188, 214)
    half = np.array(
        [(0, top), (30, top - 1), (58, top - 8), (72, top - 18), (82, top + 10), (88, 275), (0, 275)]
    )
    sides = []
    for side in (-1, 1):
        points = half + rng.normal(0, 2.5, half.shape)
        points[[0, -1], 0] = 0
        points[:, 0] = 127 + side * points[:, 0]
        sides.append(points)
    outline = smooth_outline(np.concatenate([sides[1], sides[0][-2:0:-1]]), 5)
    parameters: dict[str, Parameter] = {"object": "scarf", "pattern": texture.name}
    region = region_around(face, outline, image, 8)
    if region is None:
        return nothing(image, Extent.PARTIAL, parameters)
    light = light_of(image, region, rng)
    coverage = coverage_of(region, outline)
    rim = blurred(coverage, 3 * min(face.unit_px, 16.0))
    shade, shift = _windings(region, top, rng)
    shade *= light.field * np.float32(light.exposure) * (1 - np.float32(0.5) * (1 - rim).clip(0, 0.5))
    u = region.x + shift + 300
    v = region.y + np.float32(0.004) * (region.x - 127) * (region.x - 127) + 300
    colours = texture.colours(u, v, face.unit_px)
    thread = look_up(noise_table(128), u * np.float32(0.7), v * np.float32(0.7))
    colours += thread * np.float32(rng.uniform(3, 16))
    colours *= shade
    canvas = Canvas(region)
    canvas.lay(coverage, colours)
    return canvas.finish(
        image, Extent.PARTIAL, parameters, softness=rng.uniform(0.4, 1.1), noise=grain(region, rng, 3.0)
    )


def _windings(region: Region, top: float, rng: np.random.Generator) -> tuple[Field, Field]:
    """The shade of rolled cloth, winding under winding, and how far each shifts the pattern."""
    across = region.x - np.float32(127)
    sag = np.float32(rng.uniform(0.001, 0.004)) * across * across - np.float32(rng.normal(0, 0.12)) * across
    height = np.float32(rng.uniform(20, 36))
    turn = (region.y - np.float32(top) + sag) * (1 / height) + 8
    number = np.floor(turn)
    inside = turn - number
    roll = 4 * inside * (1 - inside)
    dents = look_up(noise_table(32), region.x * np.float32(0.7) + 300, region.y * np.float32(0.9) + 300)
    shade = np.float32(0.55) + np.float32(0.45) * roll + np.float32(0.14) * dents
    return shade, number * np.float32(23.7)
