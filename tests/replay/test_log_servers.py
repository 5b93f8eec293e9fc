"""Logs that real servers write of real requests: a replay comes to what the judge says of what was sent."""

import time
from pathlib import Path

import pytest

from noai_guard.replay.formats import FORMATS
from noai_guard.replay.run import Replay
from noai_guard.replay.sources import Source
from tests.raw_http import exchanged
from tests.replay.log_servers import SERVERS, logging
from tests.replay.requests import REQUESTS, Sent, compiled, counted, judged

_PROBE = Sent(b"/", None)
"""What tests send to see whether a server is up."""


@pytest.mark.thorough
@pytest.mark.parametrize("name", SERVERS)
def test_counts_of_a_servers_log_are_those_of_the_judge(name: str, tmp_path: Path) -> None:
    with logging(name) as (port, log):
        for sent in REQUESTS:
            assert exchanged(port, sent.head()).startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + 30
        while log.read_bytes().count(b"HTTP/1.1") < len(REQUESTS) and time.monotonic() < deadline:
            time.sleep(0.05)
        file = tmp_path / "access.log"
        file.write_bytes(log.read_bytes())
    replay = Replay([compiled()], ["noai.yaml"], time.time())
    replay.read(Source(str(file)))
    facts = replay.logs[0]
    assert facts.format.startswith(next(form.title for form in FORMATS if form.name == SERVERS[name][1]))
    assert facts.bad == 0
    requests = [*REQUESTS, *[_PROBE] * (facts.lines - len(REQUESTS))]
    if SERVERS[name][1] == "common":
        documents = judged(compiled(), requests, time.time())["", "allow", "document"]
        assert dict(counted(replay.tally)) == {
            ("", "allow", "document"): documents,
            ("", "allow", "not-logged"): len(requests) - documents,
        }
    else:
        assert counted(replay.tally) == judged(compiled(), requests, time.time())
