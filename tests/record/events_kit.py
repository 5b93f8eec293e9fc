"""Events for tests: single ones, files of them, and what hypothesis may draw."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from noai_guard.core.model import Action, Identity, Usage
from noai_guard.record.event_record import EventRecord, encode
from noai_guard.record.event_sources import EventLines, event_lines
from noai_guard.record.selection import Selection, Span

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
ALL = Selection(Span.of("2026-01", "2026-12", OCTOBER))


def event(**facts: Any) -> EventRecord:
    """Return an event of GPTBot that was refused a recording, but for these facts."""
    usual: dict[str, Any] = {
        "time": OCTOBER, "claim": "GPTBot", "operator": "OpenAI", "identity": Identity.VERIFIED, "proof": "networks",
        "action": Action.DENY, "rule": "train-ai", "usage": Usage.TRAIN_AI, "declared": ("/robots.txt",),
        "work": "salt", "method": "GET", "host": "nightferry.example", "path": "/audio/salt.mp3", "status": 403,
        "bytes": 1000, "client": "~00ff", "user_agent": "GPTBot/1.3",
    }  # fmt: skip
    return EventRecord(**{**usual, **facts})


def write_events(folder: Path, records: Iterable[EventRecord], name: str = "events-2026-10.jsonl") -> EventLines:
    """Write a file of events and return it, to be read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return event_lines([folder])


NAMES = st.sampled_from(["", "OpenAI", "Common Crawl", "=cmd|'/C calc'!A0", "<script>alert(1)</script>", "\ud800", "ü"])

RECORDS = st.lists(
    st.builds(
        event,
        time=st.integers(0, 90 * 24).map(lambda hours: OCTOBER + timedelta(hours=hours)),
        claim=NAMES,
        operator=NAMES,
        identity=st.sampled_from(Identity),
        proof=st.sampled_from(["", "networks", "signature"]),
        action=st.sampled_from(Action),
        rule=st.sampled_from(["train-ai", "declaration"]),
        enforced=st.booleans(),
        usage=st.sampled_from([None, *Usage]),
        declared=st.sampled_from([(), ("/robots.txt",), ("/robots.txt", "tdm-policy"), ("a, b=c",)]),
        work=st.sampled_from(["", "salt", "dusk", "ebb", "\ud800", "x' OR 1"]),
        method=st.sampled_from(["GET", "HEAD"]),
        path=st.sampled_from(["/audio/salt.mp3", "/artists/ines/", "/<b>"]),
        status=st.sampled_from([None, 200, 206, 403, 404, 503]),
        bytes=st.sampled_from([None, 0, 1, 4096, 2**40]),
    ),
    max_size=40,
)
