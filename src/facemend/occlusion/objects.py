"""Things in front of a face: hands, scarves, microphones, hair, cups, phones, bars, boxes, strokes."""

from collections.abc import Callable, Mapping

import numpy as np

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
from facemend.occlusion.hands_hair import draw_grip, draw_strands, hair_colour, hand
from facemend.occlusion.light import cloth_colour, light_of, palette, scaled, shifted
from facemend.occlusion.textures import BENCHMARK_PATTERNS, PATTERNS, WORDS, Pattern
from facemend.occlusion.types import Extent, Layer, Parameter


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
