"""The same WSGI app with and without the guard on real servers: the same bytes, the same headers and ours."""

import json
from pathlib import Path

import pytest

from tests.middleware import wsgi_torture_app
from tests.middleware.asgi_kit import BROWSER, OURS, SCRAPER, TAGS
from tests.middleware.side_by_side import assert_equal_but_for_ours, both, fetch
from tests.raw_http import exchanged
from tests.servers import WSGI_SERVERS

HERE = Path(__file__).parent
PAGES = ("/html", "/html/one", "/html/split", "/html/file", "/html/written")
CANNOT = {
    # granian 2.8.7 reads the headers when the app returns, which a generator has not sent by then, and has no write.
    "granian-wsgi": {"/html/split", "/million", "/html/written"},
    # gunicorn 27.0.1 sends the headers of a response that was started again with those of the first.
    "gunicorn": {"/restarted"},
}
"""What these servers get wrong by themselves, without a guard (2026-11-25)."""


@pytest.fixture(scope="module", params=WSGI_SERVERS)
def site(request, server):
    running = server(request.param, "wsgi_torture_app:app", HERE)
    yield running
    running.stop()


def routes(site):
    cannot = next((targets for kind, targets in CANNOT.items() if site.kind.startswith(kind)), ())
    return [target for target in wsgi_torture_app.ROUTES if target not in cannot]


def told(site, target: str = "/facts", **options):
    return json.loads(fetch(site, target, **options).body)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_all_routes_are_byte_equal(site, method):
    for target in routes(site):
        guarded, bare = both(site, target, method=method)
        if site.kind == "waitress" and method == b"HEAD":
            # waitress 3.0.2 closes the connection behind any answer without a length, with the end of a chunked body.
            guarded.body, bare.body = (answer.body.removesuffix(b"0\r\n\r\n") for answer in (guarded, bare))
        try:
            assert_equal_but_for_ours(guarded, bare)
            if target != "/own":
                # waitress sorts headers by name, and keeps the order of those of one name.
                ours = [field for field in guarded.headers if field in OURS]
                assert ours in (OURS, sorted(OURS, key=lambda field: field[0]))
        except AssertionError as error:
            raise AssertionError(f"{method.decode()} {target} on {site.kind}: {error}") from error


def test_pages_get_the_metas_and_nothing_else_does(site):
    for target in routes(site):
        assert (TAGS in fetch(site, target).body) is (target in PAGES), target


def test_a_head_of_a_page_announces_no_other_length_than_get(site):
    for target in set(PAGES) & set(routes(site)):
        lengths = [fetch(site, target, method=method).values(b"content-length") for method in (b"GET", b"HEAD")]
        assert lengths[0] == lengths[1] or lengths[1] == [], target


def test_a_part_of_a_song_is_equal(site):
    guarded, bare = both(site, "/part", b"Range: bytes=100-199")
    assert (bare.status, len(bare.body)) == (206, 100)
    assert_equal_but_for_ours(guarded, bare)


def test_a_song_is_whole_and_its_length_known(site):
    song = fetch(site, "/song")
    assert song.body == wsgi_torture_app.SONG
    assert song.values(b"content-length") == [b"%d" % len(song.body)]


def test_the_first_event_of_a_stream_is_not_waited_for(site):
    if site.kind == "waitress":
        pytest.skip("waitress collects 18,000 bytes before it sends, with or without a guard")
    request = b"GET /slow HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n\r\n"
    assert b"data: 2" not in exchanged(site.port, request, until=b"data: 1\n\n")


@pytest.mark.parametrize("target", ["/boom/audio", "/boom/audio/length", "/boom/html"])
def test_a_stream_that_breaks_off_is_seen_as_it_is_without_a_guard(site, target):
    guarded, bare = both(site, target)
    assert guarded.complete is bare.complete
    assert guarded.body.replace(TAGS, b"", 1) == bare.body


def test_an_error_before_the_answer_is_the_servers_500(site):
    guarded, bare = both(site, "/boom")
    assert guarded.status == bare.status == 500


def test_bodies_are_closed(site):
    before = told(site)["events"]["closed"]
    fetch(site, "/closing")
    assert told(site)["events"]["closed"] == before + 1


def test_a_posted_body_reaches_the_app(site):
    body = bytes(range(256)) * 800
    guarded, bare = both(site, "/echo", method=b"POST", body=body)
    assert guarded.body == bare.body == body


@pytest.mark.parametrize("more", [(), (b"Range: bytes=0-",), (b"Accept: text/html",)])
def test_a_scraper_is_refused(site, more):
    answer = fetch(site, "/song", *more, user_agent=SCRAPER)
    assert (answer.status, answer.complete) == (403, True)
    assert answer.values(b"cache-control") == [b"no-store"]
    assert set(OURS) <= set(answer.headers)


def test_a_refused_head_has_no_body(site):
    answer = fetch(site, "/song", method=b"HEAD", user_agent=SCRAPER)
    assert (answer.status, answer.body) == (403, b"")
    assert answer.values(b"content-length") != [b"0"]


def test_the_app_sees_the_verdict(site):
    assert told(site, user_agent=b"curl/8.5.0")["action"] == "log"


def test_a_second_user_agent_line_is_judged(site):
    assert fetch(site, "/text", b"User-Agent: " + SCRAPER).status == 403


def test_robots_txt_is_served_in_absolute_form_and_with_dot_segments(site):
    for target in ("http://music.example/robots.txt", "//robots.txt", "/a/../robots.txt", "/%72obots.txt"):
        answer = fetch(site, target, user_agent=SCRAPER)
        assert (answer.status, b"GPTBot" in answer.body) == (200, True), target


@pytest.mark.parametrize("target", ["http://evil.example/song", "/a/../song", "//song", "/%2e%2e/song", "*", "/%FF%00"])
def test_a_scraper_is_refused_in_any_spelling_of_a_path(site, target):
    method = b"OPTIONS" if target == "*" else b"GET"
    assert fetch(site, target, method=method, user_agent=SCRAPER).status in (400, 403)


def test_many_headers_and_a_huge_user_agent_end_in_an_answer(site):
    for more, user_agent in (
        ([b"X-%d: a" % n for n in range(2_000)], BROWSER),
        ([], b"a" * 1_000_000),
        ([b"User-Agent: " + SCRAPER] * 90, BROWSER),
    ):
        try:
            answer = fetch(site, "/text", *more, user_agent=user_agent)
        except (OSError, IndexError):  # the server hangs up while it is sent
            continue
        assert answer.status in (200, 400, 403, 413, 414, 431)
    assert fetch(site, "/text").status == 200
