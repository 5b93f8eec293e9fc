"""The same app with and without the guard on real servers: the same bytes, the same headers and ours."""

import json
import socket
import time
from pathlib import Path

import pytest

from tests.middleware import torture_app
from tests.middleware.asgi_kit import BROWSER, SCRAPER, TAGS
from tests.middleware.side_by_side import assert_equal_but_for_ours, both, fetch
from tests.raw_http import exchanged, parsed
from tests.servers import SERVERS, require

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=SERVERS)
def site(request, server):
    running = server(request.param, "torture_app:app", HERE)
    yield running
    running.stop()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_all_routes_are_byte_equal(site, method):
    for target in torture_app.ROUTES:
        guarded, bare = both(site, target, method=method)
        if bare.status == 500 or (target == "/headers/generator" and site.kind == "daphne"):
            # Some servers cannot read all that ASGI allows (daphne reads headers twice); the guard makes a list of it.
            assert (guarded.status, guarded.body) == (200, b"" if method == b"HEAD" else b"hello")
            continue
        try:
            assert_equal_but_for_ours(guarded, bare)
        except AssertionError as error:
            raise AssertionError(f"{method.decode()} {target} on {site.kind}: {error}") from error


def test_pages_get_the_metas_and_nothing_else_does(site):
    for target in torture_app.ROUTES:
        expected = target in ("/html", "/html/split", "/html/file")
        assert (TAGS in fetch(site, target).body) is expected, target


@pytest.mark.parametrize(
    "span", [b"bytes=0-", b"bytes=0-0", b"bytes=100-199", b"bytes=-500", b"bytes=0-1,5-6", b"bytes=9999999-"]
)
def test_ranges_of_a_song_are_equal(site, span):
    guarded, bare = both(site, "/song", b"Range: " + span)
    assert bare.status == (416 if span == b"bytes=9999999-" else 206)
    if b"," in span:  # each answer has a boundary of its own
        assert (guarded.status, len(guarded.body)) == (bare.status, len(bare.body))
    else:
        assert_equal_but_for_ours(guarded, bare)
    assert guarded.values(b"content-usage")


def test_a_song_that_the_client_has_is_a_304(site):
    (etag,) = fetch(site, "/song").values(b"etag")
    guarded, bare = both(site, "/304", b"If-None-Match: " + etag)
    assert guarded.status == 304
    assert_equal_but_for_ours(guarded, bare)


def test_a_head_of_a_song_announces_its_length(site):
    assert fetch(site, "/song", method=b"HEAD").values(b"content-length") == [b"200000"]


def test_headers_that_an_app_uses_for_every_answer_do_not_grow(site):
    counts = {len(fetch(site, "/headers/shared").headers) for _ in range(4)}
    assert len(counts) == 1


def test_a_posted_body_reaches_the_app(site):
    body = bytes(range(256)) * 800
    guarded, bare = both(site, "/echo", method=b"POST", body=body)
    assert guarded.body == bare.body == body


def test_the_first_event_of_a_stream_is_not_waited_for(site):
    request = b"GET /slow HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n"
    received = exchanged(site.port, request, until=b"data: 1\n\n")
    assert b"data: 1" in received
    assert b"data: 2" not in received


@pytest.mark.parametrize("target", ["/boom/audio", "/boom/audio/length", "/boom/html"])
def test_a_stream_that_breaks_off_is_seen_to_have_broken_off(site, target):
    if site.kind == "daphne":
        pytest.skip("daphne 4.2.3 leaves such a connection open, with or without a guard")
    guarded, bare = both(site, target)
    assert (guarded.complete, bare.complete) == (False, False)
    assert guarded.body.replace(TAGS, b"", 1) == bare.body


def test_an_error_before_the_answer_is_the_servers_500(site):
    guarded, bare = both(site, "/boom")
    assert guarded.status == bare.status == 500


def told(site, target: str = "/facts", **options):
    return json.loads(fetch(site, target, **options).body)


def test_background_tasks_run(site):
    before = told(site)["events"]["background"]
    fetch(site, "/background")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and told(site)["events"]["background"] == before:
        time.sleep(0.1)
    assert told(site)["events"]["background"] == before + 1


def test_a_context_variable_of_the_app_is_seen_around_the_guard(site):
    fetch(site, "/context")
    assert told(site)["events"]["blue"] >= 1


def test_an_app_learns_that_the_client_has_left(site):
    before = told(site)["events"]["left"]
    request = b"GET /endless HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n"
    exchanged(site.port, request, until=b"xxxx")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and told(site)["events"]["left"] == before:
        time.sleep(0.1)
    assert told(site)["events"]["left"] == before + 1


@pytest.mark.parametrize("more", [(), (b"Range: bytes=0-",), (b"Accept: text/html",)])
def test_a_scraper_is_refused(site, more):
    answer = fetch(site, "/song", *more, user_agent=SCRAPER)
    assert (answer.status, answer.complete) == (403, True)
    assert answer.values(b"cache-control") == [b"no-store"]
    assert answer.values(b"location") == []
    assert len(answer.body) < 2000


def test_a_refused_head_has_no_body(site):
    answer = fetch(site, "/song", method=b"HEAD", user_agent=SCRAPER)
    assert (answer.status, answer.body) == (403, b"")


def test_a_second_user_agent_line_is_judged(site):
    assert fetch(site, "/text", b"User-Agent: " + SCRAPER).status == 403


@pytest.mark.parametrize("method", [b"get", b"head", b"post"])
def test_a_method_in_lower_case_is_judged(site, method):
    lines = b"%s /text HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nConnection: close\r\n\r\n" % (method, SCRAPER)
    assert parsed(exchanged(site.port, lines)).status in (400, 403, 405)


def test_robots_txt_is_served_in_absolute_form_and_with_dot_segments(site):
    for target in ("http://music.example/robots.txt", "//robots.txt", "/a/../robots.txt", "/%72obots.txt"):
        answer = fetch(site, target, user_agent=SCRAPER)
        assert (answer.status, b"GPTBot" in answer.body) == (200, True), target


@pytest.mark.parametrize("target", ["http://evil.example/song", "/a/../song", "//song", "/%2e%2e/song", "*"])
def test_a_scraper_is_refused_in_any_spelling_of_a_path(site, target):
    method = b"OPTIONS" if target == "*" else b"GET"
    assert fetch(site, target, method=method, user_agent=SCRAPER).status in (400, 403)


def test_many_headers_and_a_huge_user_agent_end_in_an_answer(site):
    for more, user_agent in (
        ([b"X-%d: a" % n for n in range(20_000)], BROWSER),
        ([], b"a" * 10_000_000),
        ([b"User-Agent: " + SCRAPER] * 1000, BROWSER),
    ):
        try:
            answer = fetch(site, "/text", *more, user_agent=user_agent)
        except (OSError, IndexError):  # the server hangs up while it is sent
            continue
        assert answer.status in (200, 400, 403, 413, 414, 431)
    assert fetch(site, "/text").status == 200


def test_a_websocket_echoes_for_a_listener_and_refuses_a_scraper(site):
    require("websockets")
    from websockets.exceptions import InvalidHandshake
    from websockets.sync.client import connect

    address = f"ws://127.0.0.1:{site.port}/socket"
    with connect(address, user_agent_header=BROWSER.decode(), proxy=None) as connection:
        connection.send("hello")
        assert connection.recv(timeout=10) == "HELLO"
    with pytest.raises(InvalidHandshake, match="403"):
        connect(address, user_agent_header=SCRAPER.decode(), proxy=None)


def test_the_servers_offer_what_we_think_they_offer(site):
    offered = told(site)["extensions"]
    assert ("http.response.pathsend" in offered) is (site.kind == "granian")


class H2:
    """One request over HTTP/2 with prior knowledge."""

    def __init__(self, port: int, path: str, *more: tuple[str, str], user_agent: bytes = BROWSER) -> None:
        import h2.connection
        import h2.events

        self.informational: list[list[tuple[bytes, bytes]]] = []
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.body = b""
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        asked = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "music.example")]
        connection.send_headers(1, [*asked, ("user-agent", user_agent.decode()), *more], end_stream=True)
        with socket.create_connection(("127.0.0.1", port), 20) as link:
            link.sendall(connection.data_to_send())
            ended = False
            while not ended and (data := link.recv(65536)):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.InformationalResponseReceived):
                        self.informational.append(event.headers)
                    elif isinstance(event, h2.events.ResponseReceived):
                        self.headers = event.headers
                    elif isinstance(event, h2.events.TrailersReceived):
                        self.trailers = event.headers
                    elif isinstance(event, h2.events.DataReceived):
                        self.body += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, 1)
                    elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                        ended = True
                link.sendall(connection.data_to_send())


@pytest.fixture(scope="module")
def h2_site(server):
    require("h2")
    running = server("hypercorn", "torture_app:app", HERE)
    yield running
    running.stop()


def test_all_routes_are_byte_equal_over_http_2(h2_site):
    for target in torture_app.ROUTES:
        guarded, bare = H2(h2_site.port, target), H2(h2_site.port, target, ("x-guard", "off"))
        assert guarded.body.replace(TAGS, b"", 1) == bare.body, target
        assert dict(guarded.headers)[b":status"] == dict(bare.headers)[b":status"]
        assert guarded.trailers == bare.trailers


def test_trailers_pass_over_http_2(h2_site):
    assert H2(h2_site.port, "/trailers", ("te", "trailers")).trailers == [(b"x-sum", b"1")]


def test_an_early_hint_passes_over_http_2(h2_site):
    (hint,) = H2(h2_site.port, "/early-hint").informational
    assert (b":status", b"103") in hint


def test_a_scraper_is_refused_over_http_2(h2_site):
    answer = H2(h2_site.port, "/song", user_agent=SCRAPER)
    assert dict(answer.headers)[b":status"] == b"403"
