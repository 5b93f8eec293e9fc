"""Logs of `noai-guard serve`: written in the background, never waited for, nothing lost without a report."""

import fcntl
import logging
import os
from collections.abc import Iterator

import pytest

from tests.servers import require

require("h11", "uvicorn")

from noai_guard.observability.decision_log import decisions  # noqa: E402
from noai_guard.server import logs  # noqa: E402
from noai_guard.server.logs import BackgroundWriter, LineHandler, Logs  # noqa: E402
from noai_guard.uvicorn_adapter import LOGGER as UVICORN_LOGGER  # noqa: E402

MESSAGES = logging.getLogger("noai_guard")


class Pipe:
    """A pipe with a reader that reads only when the test says so."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)

    def fill(self) -> None:
        """Write one line that leaves no room for another."""
        os.write(self.writing, b"-" * 4095 + b"\n")

    def lines(self, last: str) -> list[str]:
        """Read until a line with this text has come."""
        received = b""
        while last.encode() not in received or not received.endswith(b"\n"):
            received += os.read(self.reading, 65536)
        return received.decode().splitlines()

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def logger() -> logging.Logger:
    logger = logging.Logger("test")
    logger.propagate = False
    return logger


def handler_for(pipe: Pipe, logger: logging.Logger) -> LineHandler:
    handler = LineHandler("stdout", pipe.writing, logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    return handler


def test_records_are_written_in_order_before_the_writer_is_closed(pipe: Pipe, logger: logging.Logger) -> None:
    handler = handler_for(pipe, logger)
    writer = BackgroundWriter(handler, (logger,))
    for number in range(50):
        logger.info("line %d", number)
    writer.close()
    assert pipe.lines("line 49") == [f"line {number}" for number in range(50)]
    assert logger.handlers == [handler]


def test_a_traceback_is_written_with_its_message(pipe: Pipe, logger: logging.Logger) -> None:
    writer = BackgroundWriter(handler_for(pipe, logger), (logger,))
    try:
        raise RuntimeError("no")
    except RuntimeError:
        logger.exception("it failed")
    writer.close()
    lines = pipe.lines("RuntimeError: no")
    assert (lines[0], lines[-1]) == ("it failed", "RuntimeError: no")


def test_a_stalled_reader_stops_nobody_and_what_was_dropped_is_counted_and_reported_once(
    pipe: Pipe, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logs, "MAX_QUEUED_LINES", 10)
    writer = BackgroundWriter(handler_for(pipe, logger), (logger,))
    pipe.fill()
    for number in range(200):
        logger.info("line %d", number)
    with caplog.at_level(logging.WARNING, "noai_guard"):
        written = 0
        while "log lines were dropped" not in caplog.text:
            written += os.read(pipe.reading, 65536).count(b"\n")
        logger.info("the last line")
        writer.close()
    written += len(pipe.lines("the last line"))
    (report,) = caplog.messages
    dropped = int(report.split()[0])
    assert report == f"{dropped} log lines were dropped: what reads stdout is too slow"
    assert written + dropped == 1 + 200 + 1


def test_closing_does_not_wait_for_a_reader_that_has_stalled(
    pipe: Pipe, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_FLUSH_SECONDS", 0.01)
    handler = handler_for(pipe, logger)
    writer = BackgroundWriter(handler, (logger,))
    pipe.fill()
    logger.info("a line")
    writer.close()
    assert handler not in logger.handlers  # it would wait
    assert pipe.lines("a line")[1:] == ["a line"]


def test_a_reader_that_has_gone_is_no_error(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = LineHandler("stdout", writing, logging.Formatter())
    logger.addHandler(handler)
    writer = BackgroundWriter(handler, (logger,))
    logger.info("nobody reads this")
    writer.close()
    os.close(writing)
    assert capsys.readouterr().err == ""


def test_decisions_go_to_stdout_and_messages_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    loggers = (decisions, MESSAGES, UVICORN_LOGGER)
    before = [(logger.handlers[:], logger.filters[:], logger.propagate, logger.level) for logger in loggers]
    try:
        with Logs().in_background():
            decisions.info("a decision", extra={"noai": {"action": "deny"}})
            MESSAGES.warning("a message")
            UVICORN_LOGGER.error("a fault")
            UVICORN_LOGGER.error("ASGI callable returned without completing handshake.")
            UVICORN_LOGGER.warning("Invalid HTTP request received.")
    finally:
        for logger, (handlers, filters, propagate, level) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.filters[:], logger.propagate = handlers, filters, propagate
            logger.setLevel(level)
    out, err = capfd.readouterr()
    assert '"action": "deny"' in out
    assert out.count("\n") == 1
    assert [line.partition(" ")[2].split(" ", 1)[1] for line in sorted(err.splitlines(), key=len)] == [
        "ERROR a fault", "WARNING a message",
    ]  # fmt: skip
