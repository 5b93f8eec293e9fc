"""The FastCGI authorizer: the same verdicts, and whatever a peer sends, an answer or an end."""

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard.gateway import fastcgi
from noai_guard.gateway.app import Gateway
from tests.gateway import fastcgi_kit as kit
from tests.gateway.fastcgi_kit import ask, begin, pairs, parameters, question, record, records, said
from tests.middleware.asgi_kit import BROWSER, SCRAPER, metric, policy

TRUSTED = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}\n"
GPTBOT, FIREFOX = SCRAPER.decode(), BROWSER.decode()


def gateway(text: str = "") -> Gateway:
    return Gateway(policy(TRUSTED + text), registry=CollectorRegistry())


def test_a_listener_is_let_in_with_variables_for_what_is_declared():
    status, lines, body = said(ask(gateway(), question("/tracks/7.mp3", FIREFOX)))
    assert (status, body) == (200, b"")
    assert lines["Variable-X_NOAI_VERDICT"] == "allow"
    assert lines["Variable-X_ROBOTS_TAG"].startswith("noai, noimageai")
    assert lines["Variable-TDM_RESERVATION"] == "1"


def test_a_scraper_gets_the_whole_refusal():
    status, lines, body = said(ask(gateway(), question("/", GPTBOT, HTTP_ACCEPT="application/json")))
    assert (status, lines["Content-Type"]) == (403, "application/json")
    assert b'"agent": "GPTBot"' in body
    assert "no-store" in lines["Cache-Control"]


def test_documents_are_for_everyone():
    assert said(ask(gateway(), question("/robots.txt", GPTBOT)))[0] == 200
    assert said(ask(gateway(), question("/robots.txt", GPTBOT, REQUEST_METHOD="POST")))[0] == 403


def test_the_web_servers_own_client_is_believed_and_what_that_one_says_only_through_trusted_proxies():
    exempt = "exemptions: {addresses: [198.51.100.0/24]}\n"
    said_by = {"HTTP_X_FORWARDED_FOR": "198.51.100.7"}
    assert said(ask(gateway(exempt), question("/", GPTBOT, REMOTE_ADDR="198.51.100.7")))[0] == 200
    assert said(ask(gateway(exempt), question("/", GPTBOT, REMOTE_ADDR="203.0.113.9", **said_by)))[0] == 403
    assert said(ask(gateway(exempt), question("/", GPTBOT, REMOTE_ADDR="127.0.0.1", **said_by)))[0] == 200


def test_a_client_cannot_say_what_it_asks_for():
    spoofed = {
        "HTTP_X_ORIGINAL_URI": "/robots.txt",
        "HTTP_X_FORWARDED_URI": "/robots.txt",
        "HTTP_X_ORIGINAL_METHOD": "GET",
    }
    assert said(ask(gateway(), question("/", GPTBOT, **spoofed)))[0] == 403
    assert said(ask(gateway(), question("/", FIREFOX, **spoofed)))[0] == 200


@pytest.mark.parametrize("uri", ["", "/a#b", "/a b", "/%00", "/a\r\nX: y"])
def test_what_is_no_request_target_is_refused(uri):
    assert said(ask(gateway(), question(uri, FIREFOX)))[0] == 403


def test_a_path_is_judged_by_its_strictest_reading():
    opened = "paths: {/open/**: {usages: {train-ai: yes, data-broker: yes, scraper: yes}}}\n"
    for uri, status in (("/open/x", 200), ("/open/..;/x", 403), ("/open%2Fx", 403), ("/open/../x", 403)):
        assert said(ask(gateway(opened), question(uri, GPTBOT)))[0] == status


def test_who_is_not_trusted_gets_no_verdict():
    nobody = Gateway(policy("mode: enforce"), registry=CollectorRegistry())
    status, lines, _ = said(ask(nobody, question("/", FIREFOX)))
    assert status == 503
    assert "Variable-X_NOAI_VERDICT" not in lines


def test_a_guard_that_is_broken_gives_no_verdict():
    guard = gateway()
    guard._answers = None
    assert said(ask(guard, question("/", FIREFOX)))[0] == 503
    assert metric(guard, "guard_failures") == 1


def test_a_connection_is_kept_where_that_is_asked():
    data = ask(gateway(), question("/", FIREFOX, keep=True), question("/", GPTBOT, keep=True), question("/", FIREFOX))
    statuses = [content[8:11] for kind, _, content in records(data) if kind == kit.STDOUT and content]
    assert statuses == [b"200", b"403", b"200"]
    ended = ask(gateway(), question("/", FIREFOX), question("/", GPTBOT))
    assert sum(kind == kit.END for kind, _, _ in records(ended)) == 1


def test_records_may_come_in_any_pieces_padded_and_with_a_body():
    whole = begin() + record(kit.PARAMS, pairs({"REQUEST_URI": "/", "HTTP_USER_AGENT": GPTBOT}), padding=7)
    whole += record(kit.PARAMS) + record(kit.STDIN, b"x" * 1000) + record(kit.STDIN)
    assert said(ask(gateway(), *(whole[place : place + 1] for place in range(len(whole)))))[0] == 403
    single = pairs({"REQUEST_URI": "/", "HTTP_USER_AGENT": GPTBOT})
    assert said(ask(gateway(), begin() + parameters(single, piece=1)))[0] == 403


def test_more_parameters_than_are_read_are_refused_unread():
    for size, status in ((60_000, 200), (300_000, 403), (3_000_000, 403)):
        assert said(ask(gateway(), question("/", FIREFOX, HTTP_COOKIE="x" * size)))[0] == status


def test_other_roles_other_requests_and_management_are_answered_as_the_protocol_says():
    responder = records(ask(gateway(), begin(role=1, keep=True) + parameters(b"") + question("/", FIREFOX)))
    assert (kit.END, 1, b"\0\0\0\0\3\0\0\0") in responder
    assert any(b"Status: 200" in content for _, _, content in responder)
    second = records(ask(gateway(), begin() + begin(request_id=2) + parameters(pairs({"REQUEST_URI": "/"}))))
    assert (kit.END, 2, b"\0\0\0\0\1\0\0\0") in second
    values = records(ask(gateway(), record(kit.GET_VALUES, pairs({"FCGI_MPXS_CONNS": "", "OTHER": ""}), 0)))
    assert values == [(kit.RESULT, 0, pairs({"FCGI_MPXS_CONNS": "0"}))]
    assert records(ask(gateway(), record(99, b"", 0))) == [(kit.UNKNOWN, 0, b"\x63" + bytes(7))]
    aborted = records(ask(gateway(), begin(keep=True) + record(kit.ABORT) + question("/", FIREFOX)))
    assert aborted[0] == (kit.END, 1, bytes(8))
    assert any(b"Status: 200" in content for _, _, content in aborted)


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n", record(kit.BEGIN, version=2), begin() + record(kit.PARAMS, b"\x05") + record(kit.PARAMS),
    begin() + record(kit.PARAMS, b"\x05\x05abc") + record(kit.PARAMS), begin(role=1),
    begin() + record(kit.PARAMS, b"\x80\0") + record(kit.PARAMS), record(kit.GET_VALUES, b"\x7f", 0),
    begin() + record(kit.PARAMS, b"\xff\xff\xff\xff\xff\xff\xff\xff") + record(kit.PARAMS),
])  # fmt: skip
def test_what_is_no_fastcgi_ends_the_connection_and_is_counted(data):
    guard = gateway()
    assert not any(kind == kit.STDOUT for kind, _, _ in records(ask(guard, data)))
    assert metric(guard, "gateway_problems", problem="record_malformed") == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=40),
    st.builds(record, st.integers(0, 12), st.binary(max_size=30), st.integers(0, 3), st.sampled_from([1, 1, 1, 0]),
              st.integers(0, 9)),
    st.builds(begin, st.integers(0, 3), st.booleans(), st.integers(0, 3)),
), max_size=8))  # fmt: skip
def test_nothing_that_is_sent_lets_a_scraper_in_or_breaks_anything(pieces):
    guard = gateway()
    data = ask(guard, *pieces, question("/", GPTBOT))
    assert b"Status: 200" not in data
    assert metric(guard, "guard_failures") == 0


def test_a_question_that_does_not_end_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(fastcgi, "_REQUEST_SECONDS", 0.1)

    async def story():
        authorizer = fastcgi.Authorizer(gateway())
        listening = socket.create_server(("127.0.0.1", 0))
        server = await authorizer.listen(listening)
        reader, writer = await asyncio.open_connection("127.0.0.1", listening.getsockname()[1])
        writer.write(begin())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        server.close()
        authorizer.close()

    asyncio.run(story())


def test_more_connections_than_are_held_are_closed(monkeypatch):
    monkeypatch.setattr(fastcgi, "_MOST_CONNECTIONS", 2)

    async def story():
        authorizer = fastcgi.Authorizer(gateway())
        listening = socket.create_server(("127.0.0.1", 0))
        server = await authorizer.listen(listening)
        port = listening.getsockname()[1]
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await kit.exchanged(port, [question("/", FIREFOX)]) == b""
        held[0][1].close()
        await asyncio.sleep(0.05)
        assert b"Status: 200" in await kit.exchanged(port, [question("/", FIREFOX)])
        server.close()
        authorizer.close()
        held[1][1].close()

    asyncio.run(story())
