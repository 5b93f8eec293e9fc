"""The song as a file, and the texts that a site shows of it."""

import os
from datetime import UTC, datetime
from pathlib import Path

from examples.music_site.shelf import default_cache, make_once
from examples.music_site.synth import Layer, Note, mix, tone

URL = os.environ.get("SITE_URL", "http://127.0.0.1:8000")
"""Where the site is reached, for the absolute links that feeds and robots.txt need."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quay</title>
<link rel="alternate" type="application/rss+xml" title="Quay" href="/feed.xml">
</head>
<body>
<h1>Quay</h1>
<p><audio controls src="/audio/quay.wav"></audio></p>
<p>A few notes, synthesised. <a href="/audio/quay.wav">File</a> · <a href="/feed.xml">Feed</a> ·
<a href="/api/song">JSON</a></p>
</body>
</html>
"""

MISSING = '<!doctype html>\n<html lang="en"><head><title>Not here</title></head><body><h1>Not here</h1></body></html>\n'

FACTS = {"title": "Quay", "artist": "Night Ferry", "seconds": 4, "audio": f"{URL}/audio/quay.wav"}

ROBOTS = f"""User-agent: *
Disallow: /admin/

Sitemap: {URL}/feed.xml
"""

RELEASED = datetime(2023, 11, 14, tzinfo=UTC)

_PLUCK = (Layer((1.0, 0.45, 0.18), attack=0.003, decay=0.65, release=0.3),)


def _record() -> bytes:
    return mix(Note(0.4 * n, tone(_PLUCK, pitch, 1.6), 9) for n, pitch in enumerate((57, 64, 69, 73)))


def folder() -> Path:
    """The folder that holds `quay.wav`; made at the first start, a third of a megabyte."""
    cache = default_cache().parent / "one-song"
    cache.mkdir(parents=True, exist_ok=True)
    make_once(cache / "quay.wav", _record, RELEASED.timestamp())
    return cache


def feed() -> str:
    """RSS 2.0 with the song as an enclosure."""
    size = (folder() / "quay.wav").stat().st_size
    return f"""<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0"><channel><title>Quay</title><link>{URL}/</link><description>One song.</description>
<item><title>Quay</title><guid isPermaLink="false">quay</guid>
<enclosure url="{URL}/audio/quay.wav" length="{size}" type="audio/wav"/></item>
</channel></rss>
"""
