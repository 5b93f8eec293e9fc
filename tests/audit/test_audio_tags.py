"""Tags of a recording on a site: found by a few ranges, wherever in the file they are, and never believed to be harmless."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import AudioBytes, Probe, ProbeResult
from noai_guard.audit.probe.survey import _MAX_TAG_BYTES, _MAX_TAG_REQUESTS, _Survey
from noai_guard.audit.readers.audio_tags import AudioTags, Wanted, read_tags
from noai_guard.config import load_catalog
from noai_guard.tagging import tag_file
from tests.audit.faults import audio_bytes
from tests.audit.live_site import audited, served
from tests.tagging.recordings import BY_FORMAT, FIELDS, recording, with_cover_and_gain


class Ranges:
    """A server of one file that knows ranges."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.requests = 0
        self.received = 0

    def fetch(self, probe: Probe) -> ProbeResult:
        self.requests += 1
        asked = dict(probe.headers).get("range", "")
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        body = self.content[first : last + 1][: probe.max_bytes]
        self.received += len(body)
        lines = (("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(self.content)}"),)
        return ProbeResult(probe.url, probe.url, status=206, headers=lines, body=body)

    def audio(self) -> AudioBytes:
        """Return what a survey fetches of the file."""
        get = ProbeResult("u", "u", status=200, body=self.content[:4096], complete=len(self.content) <= 4096)
        partial = self.fetch(Probe("u", headers=(("range", "bytes=0-1023"),)))
        self.requests = self.received = 0
        return _Survey(self, {}, False)._audio_bytes(get, partial)


@pytest.mark.parametrize("name", BY_FORMAT.values(), ids=BY_FORMAT)
def test_tags_are_found_by_a_few_ranges_of_a_large_file(tmp_path: Path, name: str) -> None:
    file = with_cover_and_gain(recording(tmp_path, name))
    tag_file(file, FIELDS)
    ranges = Ranges(file.read_bytes())
    tags = read_tags(ranges.audio())
    assert isinstance(tags, AudioTags)
    assert FIELDS.texts.items() <= dict(tags.values).items()
    assert tags.values.get("plus:DataMining", FIELDS.mining) == FIELDS.mining
    assert ranges.requests <= 4
    assert ranges.received < 200_000


def test_tags_at_the_end_of_a_very_large_wav_are_found_without_its_audio(tmp_path: Path) -> None:
    small = recording(tmp_path, BY_FORMAT["WAV"]).read_bytes()
    at = small.index(b"data")
    audio = bytes(30_000_000)
    content = small[:at] + b"data" + len(audio).to_bytes(4, "little") + audio
    file = tmp_path / "large.wav"
    file.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    tag_file(file, FIELDS)
    ranges = Ranges(file.read_bytes())
    tags = read_tags(ranges.audio())
    assert isinstance(tags, AudioTags)
    assert tags.values["RIGHTS-OWNER"] == FIELDS.owner
    assert ranges.received < 100_000


@settings(max_examples=500)
@given(
    st.sampled_from(
        [b"ID3\4\0\0", b"fLaC", b"OggS\0\2", b"\0\0\0\x18ftyp", b"RIFF\xf0\xf0\1\0WAVE", b"FORM\0\1\xf0\xf0AIFF", b""]
    ),
    st.binary(max_size=200),
)
def test_whatever_a_site_sends_few_bytes_are_asked_for_and_nothing_is_raised(head: bytes, rest: bytes) -> None:
    ranges = Ranges(head + rest + bytes(150_000))
    assert isinstance(read_tags(ranges.audio()), AudioTags)
    assert ranges.requests <= _MAX_TAG_REQUESTS
    assert ranges.received <= _MAX_TAG_BYTES


def test_a_part_that_is_missing_is_asked_for() -> None:
    assert read_tags(AudioBytes(1000, ((0, b"ID3\3\0\0\0\0\2\0\0\0"),))) == Wanted(266, 4)
    tags = read_tags(AudioBytes(1000, problem="the server is asleep"))
    assert isinstance(tags, AudioTags)
    assert tags.problem == "the server is asleep"


def test_what_tags_say_is_compared_with_the_headers(tmp_path: Path) -> None:
    file = recording(tmp_path, BY_FORMAT["M4A"])
    tag_file(file, FIELDS)
    with served(audio_bytes(file.read_bytes())) as url:
        observations, findings = audited(url)
    said = Interpretation(observations, load_catalog()).tag_statements
    assert {(statement.form, statement.usage, statement.allowed) for statement in said} == {
        ("tag TDM-RESERVATION", "train-ai", False), ("tag CONTENT-USAGE", "train-ai", False),
        ("tag CONTENT-USAGE", "ai-use", False), ("tag CONTENT-USAGE", "search", True),
        ("tag plus:DataMining", "train-ai", False),
    }  # fmt: skip
    assert set(findings) == {"A309"}
