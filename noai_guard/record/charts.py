"""Charts as inline SVG: no script, colours by class, readable as a table beside them."""

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 760, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 4, 10, 26
_MAX_LABELS = 16


def stacked_columns(title: str, columns: Sequence[tuple[str, Mapping[str, int]]], series: Mapping[str, str]) -> str:
    """Return a chart of columns from left to right, each a stack of the series from below.

    `columns` are labels with the value of each series; `series` are their classes and words for the legend.
    """
    highest = max((sum(values.get(name, 0) for name in series) for _, values in columns), default=0)
    step = round_step(highest)
    top = max(step, -(-highest // step) * step)
    height, width = _HEIGHT - _TOP - _BOTTOM, (_WIDTH - _LEFT - _RIGHT) / max(len(columns), 1)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}; the tables below have the figures">'
    ]
    for value in range(0, top + 1, step):
        y = _TOP + height * (1 - value / top)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    every = -(-len(columns) // _MAX_LABELS)
    bar = min(width * 0.78, 90)
    for index, (label, values) in enumerate(columns):
        x, y = _LEFT + width * index + (width - bar) / 2, float(_TOP + height)
        for name in series:
            if values.get(name):
                part = height * values[name] / top
                y -= part
                parts.append(f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{part:.2f}"/>')
        if index % every == 0:
            parts.append(f'<text x="{x + bar / 2:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    legend = "".join(
        f'<span><span class="key {name}"></span>{escape(words)}</span>'
        for name, words in series.items()
        if any(values.get(name) for _, values in columns)
    )
    return f"<figure>{''.join(parts)}</svg><figcaption>{legend}</figcaption></figure>"


def bar(parts: Mapping[str, int], longest: int) -> str:
    """Return a bar whose length is the share of `longest`, divided into the named parts: it repeats the figures beside
    it."""
    x, rectangles = 0.0, []
    for name, value in parts.items():
        width = 100 * value / max(longest, 1)
        if value:
            rectangles.append(f'<rect class="{name}" x="{x:.2f}" width="{width:.2f}" height="1"/>')
        x += width
    drawn = "".join(rectangles)
    return f'<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def round_step(highest: int) -> int:
    """Return a step of 1, 2 or 5 times a power of ten, of which at most five reach `highest`."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power * 5 >= highest:
                return factor * power
        power *= 10


def number(value: int) -> str:
    """Return a number with narrow spaces between thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def size(value: float) -> str:
    """Return a number of bytes in a unit of three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
