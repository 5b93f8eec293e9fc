"""Covers and scenes. Every swell is drawn from a recording's own loudness, so no two records look alike.

A drawing is a list of filled polygons; the same list becomes an SVG for the page and, by filling row by row,
a PNG for the places that want one (link previews, podcast apps).
"""

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .label import Palette, Track

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Drawing:
    width: float
    height: float
    sky: str  # #rrggbb
    shapes: tuple[tuple[str, Points], ...]  # colour and outline, painted in order


def _blend(a: str, b: str, share: float) -> str:
    pairs = ((int(a[i : i + 2], 16), int(b[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in pairs)


def _disc(x: float, y: float, radius: float) -> Points:
    turns = (math.tau * i / 72 for i in range(72))
    return [(x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns]


def _box(x: float, y: float, width: float, height: float) -> Points:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def _swell(loudness: Sequence[float], width: float, height: float, base: float, rise: float) -> Points:
    """The area under a recording's loudness, smoothed and stretched until it looks like water."""
    steps, reach = 72, 2 + len(loudness) / 21
    levels = []
    for i in range(steps + 1):
        centre = i * (len(loudness) - 1) / steps
        near = [
            (loudness[j], 1 + math.cos(math.pi * (j - centre) / reach))
            for j in range(len(loudness))
            if abs(j - centre) < reach
        ]
        levels.append(sum(level * weight for level, weight in near) / sum(weight for _, weight in near))
    low, high = min(levels), max(levels)
    ridge = [(width * i / steps, base - rise * (level - low) / (high - low or 1)) for i, level in enumerate(levels)]
    return [(0.0, height), *ridge, (width, height)]


def _surface(swell: Points, x: float) -> float:
    return min(y for ridge_x, y in swell if abs(ridge_x - x) <= 2)


def _ferry(x: float, y: float, unit: float, hull: str, light: str) -> list[tuple[str, Points]]:
    return [
        (
            hull,
            [(x, y), (x + 12 * unit, y), (x + 10.6 * unit, y + 2.4 * unit), (x + 1.2 * unit, y + 2.4 * unit)],
        ),
        (hull, _box(x + 2 * unit, y - 1.9 * unit, 7.4 * unit, 1.9 * unit)),
        (hull, _box(x + 3.2 * unit, y - 3.3 * unit, 3.6 * unit, 1.4 * unit)),
        (hull, _box(x + 7.3 * unit, y - 4.2 * unit, 1.1 * unit, 2.3 * unit)),
        *((light, _box(x + (2.7 + 1.1 * i) * unit, y - 1.3 * unit, 0.6 * unit, 0.7 * unit)) for i in range(6)),
        *((light, _box(x + (3.7 + 1.1 * i) * unit, y - 2.8 * unit, 0.6 * unit, 0.5 * unit)) for i in range(3)),
    ]


def _glitter(x: float, top: float, bottom: float, radius: float, colour: str) -> list[tuple[str, Points]]:
    """The disc's light on the water: bars that thin out towards the viewer."""
    rows = 7
    bars = []
    for i in range(rows):
        width = radius * (1.7 - 0.2 * i) * (1 if i % 2 else 0.7)
        y = top + (bottom - top) * i / rows
        bars.append((colour, _box(x - width / 2 + (i % 3 - 1) * radius / 6, y, width, 0.55)))
    return bars


def cover(track: Track, loudness: Sequence[float]) -> Drawing:
    """A cover of 100 by 100: five swells from five stretches of the recording, a disc, and the ferry."""
    palette, (x, y, radius) = track.palette, track.disc
    shapes: list[tuple[str, Points]] = [
        (_blend(palette.sky, palette.disc, 0.14), _disc(x, y, radius * 1.45)),
        (palette.disc, _disc(x, y, radius)),
    ]
    share = len(loudness) // 5
    for i in range(5):
        base = 66 + 9 * i
        colour = _blend(palette.crest, palette.deep, i / 4)
        part = loudness[i * share : (i + 1) * share]
        swell = _swell(part, 100, 100, base, 8)
        if i == 1:
            ship = 14 if x > 45 else 66
            shapes += _ferry(ship, _surface(swell, ship + 9) - 2, 1.5, palette.deep, palette.disc)
        shapes.append((colour, swell))
    shapes += _glitter(x, 78, 99, radius, _blend(palette.disc, palette.deep, 0.35))
    return Drawing(100, 100, palette.sky, tuple(shapes))


def harbour(recordings: Sequence[Sequence[float]], width: float, height: float) -> Drawing:
    """The label's own scene: one swell for every record in the catalogue."""
    night = Palette("#0e1a33", "#ffcf87", "#2c5876", "#070d1c")
    moon_x, moon_y, radius = width * 0.76, height * 0.34, height * 0.15
    stars = [
        (math.modf(i * 0.6180339 + 0.11)[0] * width, math.modf(i * 0.7548777)[0] * height * 0.5) for i in range(60)
    ]
    shapes: list[tuple[str, Points]] = [
        (_blend(night.sky, "#ffffff", 0.25 + 0.5 * (i % 4) / 4), _box(x, y, 0.3, 0.3)) for i, (x, y) in enumerate(stars)
    ]
    shapes += [
        (_blend(night.sky, night.disc, 0.07), _disc(moon_x, moon_y, radius * 1.9)),
        (_blend(night.sky, night.disc, 0.14), _disc(moon_x, moon_y, radius * 1.4)),
        (night.disc, _disc(moon_x, moon_y, radius)),
    ]
    for i, loudness in enumerate(recordings):
        base = height * (0.68 + 0.3 * i / len(recordings))
        swell = _swell(loudness[8:-28], width, height, base, height * 0.12)
        if i == 1:
            ship, unit = width * 0.5, height / 50
            shapes += _ferry(ship, _surface(swell, ship + 6 * unit) - 1.4 * unit, unit, "#050a16", night.disc)
        colour = _blend(night.crest, night.deep, i / (len(recordings) - 1))
        shapes.append((colour, swell))
    shapes += _glitter(moon_x, height * 0.78, height * 0.99, radius, _blend(night.disc, night.deep, 0.4))
    return Drawing(width, height, night.sky, tuple(shapes))


def svg(drawing: Drawing) -> str:
    paths = "".join(
        f'<path fill="{colour}" d="M{"L".join(f"{x:.2f} {y:.2f}" for x, y in points)}Z"/>'
        for colour, points in drawing.shapes
    )
    size = f"{drawing.width:g} {drawing.height:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" preserveAspectRatio="xMidYMax slice">'
        f'<path fill="{drawing.sky}" d="M0 0h{drawing.width:g}v{drawing.height:g}H0z"/>{paths}</svg>'
    )


def png(drawing: Drawing, width: int) -> bytes:
    """An indexed PNG, `width` pixels wide."""
    scale = width / drawing.width
    height = round(drawing.height * scale)
    colours = list(dict.fromkeys([drawing.sky, *(colour for colour, _ in drawing.shapes)]))
    index = {colour: bytes([i]) for i, colour in enumerate(colours)}
    rows = [bytearray(index[drawing.sky] * width) for _ in range(height)]
    for colour, points in drawing.shapes:
        crossings: dict[int, list[float]] = {}
        for (x0, y0), (x1, y1) in pairwise([*points, points[0]]):
            if y0 > y1:
                x0, y0, x1, y1 = x1, y1, x0, y0
            for row in range(max(0, math.ceil(y0 * scale - 0.5)), min(height, math.ceil(y1 * scale - 0.5))):
                crossings.setdefault(row, []).append((x0 + (x1 - x0) * ((row + 0.5) / scale - y0) / (y1 - y0)) * scale)
        for row, found in crossings.items():
            found.sort()
            for left, right in zip(found[::2], found[1::2], strict=True):
                start, stop = max(0, round(left)), min(width, round(right))
                if start < stop:
                    rows[row][start:stop] = index[colour] * (stop - start)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    table = bytes.fromhex("".join(colour[1:] for colour in colours))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"PLTE", table), (b"IDAT", pixels), (b"IEND", b""))
    )


def waveform(loudness: Sequence[float]) -> str:
    """A recording as upright bars in the text's colour, for inlining; decorative."""
    bars = "".join(
        f"M{3 * i + 1} {round(20 - 19 * level, 1):g}V{round(20.5 + 19 * level, 1):g}"
        for i, level in enumerate(loudness)
    )
    return (
        f'<svg class="wave" aria-hidden="true" viewBox="0 0 {3 * len(loudness)} 40" preserveAspectRatio="none">'
        f'<path d="{bars}" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/></svg>'
    )
