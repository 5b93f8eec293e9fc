"""The tape shelf: recordings and their pictures, made once and kept in a cache folder."""

import hashlib
import io
import os
import tempfile
import wave
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import artwork, pieces
from .label import TRACKS, Track

_HERE = Path(__file__).parent
_POINTS = 160  # of loudness a recording


@dataclass(frozen=True, slots=True)
class Recording:
    track: Track
    audio: Path
    stat: os.stat_result
    seconds: int
    loudness: tuple[float, ...]  # 0 to 1, `_POINTS` of them
    cover: str  # SVG
    picture: Path  # PNG, 1400 by 1400: the smallest that Apple Podcasts accepts


@dataclass(frozen=True, slots=True)
class Shelf:
    recordings: dict[str, Recording]  # by slug, newest first
    harbour: str  # SVG
    preview: Path  # PNG, 1200 by 630: Open Graph's picture


def default_cache() -> Path:
    """A folder of this version of the instruments and the pen, so that an edit is heard at the next start."""
    source = b"".join((_HERE / name).read_bytes() for name in ("artwork.py", "label.py", "pieces.py", "synth.py"))
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "night-ferry-records" / hashlib.sha256(source).hexdigest()[:16]


def make_once(path: Path, content: Callable[[], bytes], released: float) -> Path:
    if not path.exists():
        # Several workers may start at once; each writes its own file and the last rename wins.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content())
        # The release date, so that Last-Modified and ETag are the same on every machine.
        os.utime(file.name, (released, released))
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    return path


def _loudness(wav: bytes) -> tuple[int, tuple[float, ...]]:
    """Length in whole seconds and the peak of each stretch against the loudest."""
    with wave.open(io.BytesIO(wav)) as file:
        frames, rate = file.getnframes(), file.getframerate()
        samples = array("h", file.readframes(frames))[::5]
    step = len(samples) // _POINTS
    stretches = [samples[i * step : (i + 1) * step] for i in range(_POINTS)]
    peaks = [max(max(stretch), -min(stretch)) for stretch in stretches]
    return round(frames / rate), tuple(peak / max(peaks) for peak in peaks)


def fill(cache: Path | None = None) -> Shelf:
    """Make what `cache` does not hold yet (about two seconds for everything) and read the rest."""
    folder = cache or default_cache()
    folder.mkdir(parents=True, exist_ok=True)
    recordings: dict[str, Recording] = {}
    for track in TRACKS:
        released = track.released.timestamp()
        audio = make_once(folder / f"{track.slug}.wav", partial(pieces.record, track.slug), released)
        seconds, loudness = _loudness(audio.read_bytes())
        drawing = artwork.cover(track, loudness)
        picture = make_once(folder / f"{track.slug}.png", partial(artwork.png, drawing, 1400), released)
        recordings[track.slug] = Recording(track, audio, audio.stat(), seconds, loudness, artwork.svg(drawing), picture)
    every = [recording.loudness for recording in recordings.values()]
    wide = artwork.harbour(every, 120, 63)
    preview = make_once(folder / "harbour.png", partial(artwork.png, wide, 1200), TRACKS[0].released.timestamp())
    return Shelf(recordings, artwork.svg(artwork.harbour(every, 240, 90)), preview)
