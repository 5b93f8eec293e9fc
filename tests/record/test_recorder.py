"""What happened to a request is in the log, and writing it never touches a request."""

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from noai_guard.core.event_settings import EventSettings, syslog_address
from noai_guard.core.model import Action, Identity, Usage
from noai_guard.record import recorder as recorder_module
from noai_guard.record.canonical_policy import policy_digest
from noai_guard.record.event_files import read_events
from noai_guard.record.event_output import StdoutOutput, SyslogOutput
from noai_guard.record.file_output import FilesOutput
from noai_guard.record.recorder import Recorder
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, http, websocket
from tests.record.conftest import NAMED, until

PLAYER = b"VLC/3.0.20 LibVLC/3.0.20"


def test_a_refused_request_is_an_event_with_all_its_facts(site) -> None:
    one = site(answering())
    ask(one.guard, http("/audio/blue.mp3", SCRAPER))
    (record,) = one.records()
    assert (record.claim, record.operator, record.usage) == ("GPTBot", "OpenAI", Usage.TRAIN_AI)
    assert (record.action, record.enforced, record.rule) == (Action.DENY, True, "train-ai")
    assert (record.identity, record.proof) == (Identity.UNVERIFIED, "")
    assert (record.method, record.host, record.path, record.work) == ("GET", "music.example", "/audio/blue.mp3", "blue")
    assert (record.status, record.ledger) == (403, None)
    assert record.bytes
    assert record.policy == policy_digest(one.guard.runtime.compiled.policy)
    assert record.user_agent == SCRAPER.decode()


def test_a_named_agent_that_is_let_in_is_an_event_with_what_it_got(site) -> None:
    one = site(answering(b"12345678"))
    ask(one.guard, http("/audio/blue.mp3", NAMED))
    (record,) = one.records()
    assert (record.claim, record.action, record.status, record.bytes) == ("Radioline", Action.ALLOW, 200, 8)


@pytest.mark.parametrize("user_agent", [BROWSER, PLAYER, b"AntennaPod/3.4.0"])
def test_listeners_are_no_events(site, user_agent: bytes) -> None:
    one = site(answering())
    ask(one.guard, http("/audio/blue.mp3", user_agent))
    ask(one.guard, http("/robots.txt", user_agent))
    assert one.records() == []


def test_without_events_in_the_policy_nothing_is_written(site) -> None:
    one = site(answering())
    one.policy.write_text("mode: enforce\n")
    assert one.guard.runtime.reload()
    ask(one.guard, http("/", SCRAPER))
    assert one.records() == []
    assert not one.recorder.wants(None)


def test_an_event_says_what_its_client_had_been_served_before(site) -> None:
    one = site(answering())
    for path, user_agent in (("/robots.txt", SCRAPER), ("/a", SCRAPER), ("/b", SCRAPER), ("/c", b"ClaudeBot/1.0")):
        ask(one.guard, http(path, user_agent))
    robots, first, second, other = one.records()
    assert (robots.path, robots.rule, robots.status, robots.declared) == ("/robots.txt", "declaration", 200, ())
    assert first.declared == ("/robots.txt",)
    assert second.declared[0] == "/robots.txt"
    assert "tdm-reservation" in second.declared
    assert other.declared == ()


def test_a_head_request_for_a_declaration_does_not_count_as_having_read_it(site) -> None:
    one = site(answering())
    ask(one.guard, http("/robots.txt", SCRAPER, method="HEAD"))
    ask(one.guard, http("/a", SCRAPER))
    assert one.records()[1].declared == ()


def test_of_a_response_that_breaks_off_what_was_sent_is_noted(site) -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 206, "headers": []})
        await send({"type": "http.response.body", "body": b"123", "more_body": True})
        raise RuntimeError

    one = site(app)
    with pytest.raises(RuntimeError):
        ask(one.guard, http("/a", NAMED))
    assert [(record.status, record.bytes) for record in one.records()] == [(206, 3)]


def test_a_websocket_is_an_event(site) -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "abc"})
        await send({"type": "websocket.close"})

    one = site(app)
    for user_agent in (NAMED, SCRAPER):
        ask(one.guard, websocket("/live", user_agent), {"type": "websocket.connect"})
    assert [(record.status, record.bytes) for record in one.records()] == [(101, 3), (403, 0)]


def test_hostile_words_become_a_line_that_is_read(site) -> None:
    one = site(answering())
    scope = http("/" + "\udcff\n\u2028\x1b[31m" * 2000, SCRAPER + b"\xff\x00" * 5000)
    scope["headers"][0] = (b"host", b"a\xff" * 3000)
    ask(one.guard, scope)
    (record,) = one.records()
    assert len(record.path) <= 1024
    assert len(record.user_agent) == 512


def test_pseudonyms_are_written_unless_the_policy_wants_addresses(site) -> None:
    one = site(answering())
    ask(one.guard, http("/a", SCRAPER))
    one.policy.write_text("events: {addresses: full}\n")
    assert one.guard.runtime.reload()
    ask(one.guard, http("/a", SCRAPER))
    first, second = one.records()
    assert first.client.startswith("~")
    assert second.client == "203.0.113.7"


def test_a_reload_goes_on_in_another_folder(site, tmp_path: Path) -> None:
    one = site(answering())
    ask(one.guard, http("/a", SCRAPER))
    one.policy.write_text("events: {folder: other}\n")
    assert one.guard.runtime.reload()
    ask(one.guard, http("/b", SCRAPER))
    one.recorder.flush()
    assert [event.record.path for event in read_events([one.events])] == ["/a"]
    assert [event.record.path for event in read_events([tmp_path / "other"])] == ["/b"]


def test_the_thread_writes_within_a_second_without_being_asked(site) -> None:
    one = site(answering())
    ask(one.guard, http("/a", SCRAPER))
    until(lambda: list(read_events([one.events])) if one.events.exists() else None)


def test_what_is_too_much_is_dropped_and_counted(site, monkeypatch) -> None:
    monkeypatch.setattr(recorder_module, "MAX_QUEUED", 3)
    monkeypatch.setattr(Recorder, "start", lambda self: None)
    one = site(answering())
    for _ in range(5):
        assert ask(one.guard, http("/a", SCRAPER)).status == 403
    assert len(one.records()) == 3
    assert one.metric("noai_events_dropped_total", sink="queue") == 2
    assert one.metric("noai_events_written_total", sink="files") == 3


def test_a_full_disk_touches_no_request_and_leaves_no_half_line(site, caplog) -> None:
    one = site(answering())
    ask(one.guard, http("/a", SCRAPER))
    assert len(one.records()) == 1
    (file,) = one.events.glob("events-*.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 100, limits[1]))
    try:
        assert ask(one.guard, http("/b", SCRAPER)).status == 403
        one.recorder.flush()
        assert one.metric("noai_event_sink_failing", sink="files") == 1
        assert one.metric("noai_events_dropped_total", sink="files") == 1
        ask(one.guard, http("/b", SCRAPER))
        one.recorder.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    ask(one.guard, http("/c", SCRAPER))
    assert [record.path for record in one.records()] == ["/a", "/c"]
    assert file.read_bytes().count(b"\n") == 2
    assert one.metric("noai_event_sink_failing", sink="files") == 0
    said = [record.message for record in caplog.records if "events" in record.message]
    assert [text.partition(":")[0] for text in said] == [
        "events cannot be written to files and are dropped",
        "events are written to files again",
    ]


def test_a_folder_that_cannot_be_made_touches_no_request(site, tmp_path: Path) -> None:
    one = site(answering(), "{folder: noai.yaml/events}")
    assert ask(one.guard, http("/a", SCRAPER)).status == 403
    one.recorder.flush()
    assert one.metric("noai_event_sink_failing", sink="files") == 1
    assert one.metric("noai_event_sink_failing", sink="keys") == 1


def test_a_fault_in_a_line_drops_that_line_alone(site, monkeypatch) -> None:
    one = site(answering())
    real = one.recorder._lines.line
    monkeypatch.setattr(one.recorder._lines, "line", lambda event: real(event) if event.path != "/bad" else 1 / 0)
    for path in ("/a", "/bad", "/b"):
        ask(one.guard, http(path, SCRAPER))
    assert [record.path for record in one.records()] == ["/a", "/b"]
    assert one.metric("noai_guard_failures_total", place="record") == 1
    assert one.metric("noai_events_dropped_total", sink="queue") == 1


def test_after_a_fork_each_process_has_a_file_of_its_own(site) -> None:
    one = site(answering())
    ask(one.guard, http("/parent", SCRAPER))
    one.recorder.flush()
    ask(one.guard, http("/waits", SCRAPER))
    child = os.fork()
    if not child:
        try:
            ask(one.guard, http("/child", SCRAPER))
            one.recorder.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert sorted(record.path for record in one.records()) == ["/child", "/parent", "/waits"]
    names = [path.name for path in one.events.glob("events-*")]
    assert len(names) == 2
    assert len({record.client for record in one.records()}) == 1


_KILLED = """
import sys, time
from pathlib import Path
from tests.middleware.asgi_kit import SCRAPER, answering, ask, http
from noai_guard import NoAIMiddleware
guard = NoAIMiddleware(answering(), Path(sys.argv[1]))
number = 0
while True:
    ask(guard, http(f"/{number}/{time.time()}", SCRAPER))
    print(number, flush=True)
    number += 1
    time.sleep(0.005)
"""


def test_a_process_that_is_killed_loses_at_most_a_second(site) -> None:
    one = site(answering())
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(one.policy)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    try:
        for _ in range(200):
            process.stdout.readline()
    finally:
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
    paths = [event.record.path for event in read_events([one.events])]
    requested = 200 + len(rest)
    assert [path.split("/")[1] for path in paths] == [str(number) for number in range(len(paths))]
    times = [float(path.split("/")[2]) for path in paths]
    # The writer is due every 0.1 s; what is missing is what came after the last line.
    assert requested - len(paths) <= max(1, sum(time > times[-1] - 1 for time in times) + 1)
    assert times


def test_a_file_is_closed_and_compressed_when_it_is_large_or_its_day_is_over(tmp_path: Path, monkeypatch) -> None:
    output = FilesOutput(tmp_path, max_bytes=1000)
    for number in range(5):
        output.write([b"%d" % number * 400])
    output.close()

    def is_done() -> bool:
        compressed, plain = (len(list(tmp_path.glob(names))) for names in ("*.jsonl.zst", "*.jsonl"))
        return compressed >= 2 and compressed + plain == 3

    until(is_done)


def test_what_another_process_writes_is_not_compressed_and_what_a_dead_one_left_is(site, tmp_path: Path) -> None:
    live = FilesOutput(tmp_path / "noai-events", 10_000)
    live.write([b"{}"])
    left = tmp_path / "noai-events" / "events-20260101T000000.000000-00000000.jsonl"
    left.write_bytes(b"{}\n")
    one = site(answering())
    ask(one.guard, http("/a", SCRAPER))
    one.recorder.flush()
    until(lambda: left.with_name(f"{left.name}.zst").exists() and not left.exists())
    assert len(list((tmp_path / "noai-events").glob("*.jsonl"))) == 2
    live.close()


def test_syslog_gets_messages_of_rfc_5424_by_udp(site) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        one = site(answering(), f'{{to: ["syslog://127.0.0.1:{server.getsockname()[1]}"]}}')
        ask(one.guard, http("/a", SCRAPER))
        one.recorder.flush()
        message = server.recv(65536).decode()
    head, _, line = message.partition(" - ")
    priority, moment, host, name, process, kind = head.split(" ")
    assert (priority, host, name, process, kind) == (
        "<134>1",
        socket.gethostname(),
        "noai-guard",
        str(os.getpid()),
        "event",
    )
    assert moment.endswith("+00:00")
    assert '"claim":"GPTBot"' in line


def test_syslog_on_a_socket_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        address = syslog_address(f"syslog:{tmp_path}/log")
        assert address
        output = SyslogOutput("syslog", address)
        taken = output.write([b"x" * 1000] * 5000)
        assert 0 < taken < 5000
        assert output.write([b"x" * 10_000_000]) == 0
        output.close()
    with pytest.raises(OSError, match="refused"):
        output.write([b"x"])


def test_syslog_to_a_host_without_address_fails_and_does_not_wait_for_the_dns(monkeypatch) -> None:
    resolving = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolving.wait(30) and [])
    address = syslog_address("syslog://nowhere.invalid")
    assert address
    output = SyslogOutput("syslog", address)
    for _ in range(2):
        with pytest.raises(OSError, match="not known yet"):
            output.write([b"x"])
    resolving.set()


def test_lines_on_the_standard_output_are_whole_and_a_full_pipe_holds_nothing_up() -> None:
    reader, writer = os.pipe()
    output = StdoutOutput(writer)
    lines = [b"%05d" % number + b"x" * 995 for number in range(200)]
    taken = output.write(lines)
    assert 0 < taken < 200
    assert output.write([b"y"]) == 0
    read = b""
    while read.count(b"\n") < taken - 1:
        read += os.read(reader, 65536)
    assert output.write([b"last"]) == 1
    os.close(writer)
    while part := os.read(reader, 65536):
        read += part
    assert read.splitlines() == [*lines[:taken], b"last"]
    os.close(reader)


def test_dev_full_is_counted_as_any_other_output_that_fails() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space") as caught:
            StdoutOutput(descriptor).write([b"x"])
    finally:
        os.close(descriptor)
    assert caught.value.errno == errno.ENOSPC


def test_a_recorder_without_thread_writes_itself(site, monkeypatch) -> None:
    def start(self) -> None:
        raise RuntimeError("can't start new thread")

    one = site(answering())
    monkeypatch.setattr(threading.Thread, "start", start)
    ask(one.guard, http("/a", SCRAPER))
    monkeypatch.undo()
    assert [record.path for record in one.records()] == ["/a"]


def test_the_thread_of_a_guard_that_is_gone_ends(site) -> None:
    from prometheus_client import CollectorRegistry

    from noai_guard.observability.metrics import Metrics

    gone = Recorder(Metrics.of(CollectorRegistry()))
    gone._settings = EventSettings(("stdout",))
    gone.start()
    thread = gone._thread
    assert thread
    del gone
    until(lambda: not thread.is_alive())
