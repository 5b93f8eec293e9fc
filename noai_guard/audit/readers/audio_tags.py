"""Tags of a recording of which only parts have been fetched."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from noai_guard.audit.probe.result import AudioBytes
from noai_guard.audit.readers.guarded import describe, guarded
from noai_guard.tagging.formats import format_of
from noai_guard.tagging.source import Unsafe


@dataclass(frozen=True, slots=True)
class AudioTags:
    """Values of our tags by their name (`fields.OWN`, `plus:DataMining`), or the problem why they are not known."""

    values: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of a recording that has to be fetched before its tags can be read."""

    start: int
    length: int


class _Missing(Exception):
    def __init__(self, start: int, length: int) -> None:
        super().__init__(f"{length} bytes from {start}")
        self.start = start
        self.length = length


class _Parts:
    """The parts of a recording, as the source that formats are read from."""

    def __init__(self, audio: AudioBytes) -> None:
        self.size = audio.size
        self._parts = audio.parts

    def read(self, start: int, length: int) -> bytes:
        if start + length > self.size:
            raise Unsafe(f"it ends at byte {self.size:,}, in the middle of what it announces")
        for at, content in self._parts:
            if at <= start and start + length <= at + len(content):
                return content[start - at : start - at + length]
        raise _Missing(start, length)


def read_tags(audio: AudioBytes) -> AudioTags | Wanted:
    """Return the tags, or what has to be fetched before they can be read. Never raises for what a site sent."""
    if audio.problem:
        return AudioTags(problem=audio.problem)

    def parsed() -> AudioTags | Wanted:
        source = _Parts(audio)
        try:
            return AudioTags(format_of(source).read(source))
        except _Missing as missing:
            return Wanted(missing.start, missing.length)

    return guarded(parsed, lambda error: AudioTags(problem=describe(error)))
