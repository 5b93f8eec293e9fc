"""The gateway, asked directly: whom it believes, what it reads, what it says."""

import asyncio
from contextlib import suppress
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard.core.paths import normal_path
from noai_guard.core.request import PlainRequest
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.original_request import Malformed, original_request
from tests.middleware.asgi_kit import BROWSER, SCRAPER, answering, ask, guarded, http, metric, policy

PRESS_OPEN = "paths: {/press/**: {usages: {train-ai: yes}}}\n"
TRUSTED = 'trusted_proxies: {peers: [127.0.0.1, "unix:"], header: x-forwarded-for}\n'
PROXY = ("127.0.0.1", 40000)
VERIFY, NGINX, ANSWER = "/.noai/verify", "/.noai/verify-nginx", "/.noai/answer"
NGINX_401 = "/.noai/verify-nginx-401"


def gateway(text: str = "", **options) -> Gateway:
    return Gateway(policy(TRUSTED + text), registry=CollectorRegistry(), **options)


def verify(guard, uri="/tracks/7.mp3", user_agent=SCRAPER, *more, path=VERIFY, **scope):
    said = [(b"x-original-uri", uri.encode("latin-1"))] if uri is not None else []
    scope.setdefault("client", PROXY)
    return ask(guard, http(path, user_agent, *said, *more, **scope))


def test_a_listener_is_let_in_with_what_the_response_declares():
    got = verify(gateway(), user_agent=BROWSER)
    assert (got.status, got.body) == (200, b"")
    assert got.values(b"x-noai-verdict") == [b"allow"]
    assert got.values(b"x-noai-agent") == [b"none"]
    assert got.values(b"x-robots-tag") == [b"noai, noimageai, noarchive, noml"]
    assert got.values(b"content-usage") == [b"train-ai=n, ai-use=n, search=y"]
    assert got.values(b"content-length") == [b"0"]


def test_a_scraper_gets_the_refusal_that_asgi_gives():
    got, same = verify(gateway()), ask(guarded(answering()), http("/tracks/7.mp3", SCRAPER))
    assert (got.status, got.body) == (same.status, same.body)
    assert got.headers[: len(same.headers)] == same.headers
    assert got.values(b"x-noai-agent") == [b"GPTBot"]
    assert got.values(b"x-noai-rule") == [b"train-ai"]


def test_nginx_hears_two_statuses_and_fetches_the_refusal():
    guard = gateway("usages: {train-ai: license_required}\nsite: {licence: 'https://music.example/licence'}\n")
    assert verify(guard, user_agent=BROWSER, path=NGINX).status == 204
    refused = verify(guard, path=NGINX)
    assert (refused.status, refused.body, refused.values(b"x-noai-status")) == (403, b"", [b"402"])
    answer = verify(guard, "/tracks/7.mp3", SCRAPER, (b"x-noai-status", b"402"), path=ANSWER)
    native = verify(guard)
    assert (answer.status, answer.body) == (402, native.body)
    assert (b"link", b'<https://music.example/licence>; rel="license"') in answer.headers
    assert metric(guard, "requests", agent="GPTBot") == 2


def test_nginx_hears_of_a_refusal_as_401_so_that_its_own_403_stays() -> None:
    guard = gateway()
    assert verify(guard, user_agent=BROWSER, path=NGINX_401) == verify(guard, user_agent=BROWSER, path=NGINX)
    told, before = verify(guard, path=NGINX_401), verify(guard, path=NGINX)
    assert (told.status, before.status) == (401, 403)
    assert (told.headers, told.body) == (before.headers, before.body)


def test_an_answer_is_the_one_that_was_decided_and_asks_nothing_again():
    guard = gateway("usages: {train-ai: throttle}\nlimits: {throttle: {requests: 1, seconds: 3600}}\n")
    assert [verify(guard, path=NGINX).status for _ in range(2)] == [204, 403]
    answers = [verify(guard, "/", SCRAPER, (b"x-noai-status", b"429"), path=ANSWER) for _ in range(3)]
    assert {answer.status for answer in answers} == {429}
    assert answers[0].values(b"retry-after") == [b"3600"]
    assert metric(guard, "requests") == 2


@pytest.mark.parametrize("status", [b"", b"200", b"204", b"302", b"nonsense", b"402\x00"])
@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
def test_an_answer_is_never_an_entry(status, user_agent):
    assert verify(gateway(), "/", user_agent, (b"x-noai-status", status), path=ANSWER).status == 403


def test_an_answer_to_what_was_refused_for_another_reason_is_still_a_refusal():
    for status, uri in ((b"403", "/"), (b"402", "/"), (b"429", "/"), (b"403", "/a#b"), (b"403", "")):
        got = verify(gateway(), uri, BROWSER, (b"x-noai-status", status), path=ANSWER)
        assert got.status == (int(status) if uri == "/" else 403)
        assert b"rule" in got.body


@pytest.mark.parametrize("client", [("203.0.113.9", 1), ("testclient", 1), ("::1", 1)])
@pytest.mark.parametrize("path", [VERIFY, NGINX, ANSWER, VERIFY + "/tracks/7.mp3"])
def test_who_is_no_trusted_proxy_gets_no_verdict_at_all(client, path, caplog):
    guard = gateway()
    for _ in range(3):
        got = verify(guard, user_agent=BROWSER, path=path, client=client)
        assert got.status == 503
        assert not got.values(b"x-noai-verdict")
    assert metric(guard, "gateway_problems", problem="caller_not_trusted") == 3
    assert caplog.text.count("trusted_proxies") == 1
    assert metric(guard, "requests") == 0


def test_a_unix_socket_is_trusted_where_the_policy_says_so():
    assert verify(gateway(), client=None).status == 403
    alone = "trusted_proxies: {peers: [127.0.0.1], header: x-forwarded-for}"
    assert verify(Gateway(policy(alone), registry=CollectorRegistry()), client=None).status == 503


def test_without_trusted_proxies_nobody_may_ask_and_the_gateway_is_not_ready():
    guard = Gateway(policy("mode: enforce"), registry=CollectorRegistry())
    assert verify(guard).status == 503
    assert ask(guard, http("/.noai/ready")).status == 503
    assert ask(guard, http("/.noai/health")).status == 200
    assert ask(gateway(), http("/.noai/ready")).status == 200


def test_a_proxy_that_does_not_say_about_what_gets_no_verdict():
    guard = gateway()
    assert verify(guard, None).status == 503
    assert metric(guard, "gateway_problems", problem="uri_missing") == 1


@pytest.mark.parametrize("more", [
    [(b"x-forwarded-uri", b"/robots.txt")],
    [(b"x-original-uri", b"/robots.txt")],
    [(b"x-original-url", b"https://music.example/robots.txt")],
    [(b"x-original-method", b"GET"), (b"x-forwarded-method", b"POST")],
])  # fmt: skip
@pytest.mark.parametrize("text", ["", "on_unknown: allow\n"])
def test_two_sources_that_disagree_are_no_for_a_scraper_and_yes_for_a_listener(more, text, caplog):
    guard = gateway(text)
    caplog.set_level("INFO", "noai_guard.decisions")
    assert verify(guard, "/tracks/7.mp3", BROWSER, *more).status == 200
    assert verify(guard, "/tracks/7.mp3", SCRAPER, *more).status == 403
    assert metric(guard, "gateway_problems", problem="sources_disagree") == 2
    assert "/tracks/7.mp3" in caplog.text


def test_who_is_refused_somewhere_else_only_is_refused_where_it_is_not_clear_what_is_asked():
    guard = gateway("usages: {train-ai: yes}\npaths: {/tracks/**: {usages: {train-ai: no}}}\n")
    assert verify(guard, "/press/7", SCRAPER).status == 200
    got = verify(guard, "/press/7", SCRAPER, (b"x-forwarded-uri", b"/tracks/7"))
    assert (got.status, got.values(b"x-noai-rule")) == (403, [b"unreadable"])


def test_two_sources_that_agree_are_one():
    more = [
        (b"x-forwarded-uri", b"//tracks/./%37.mp3?x"), (b"x-original-url", b"https://music.example/tracks/7.mp3"),
        (b"x-original-method", b"get"), (b"x-forwarded-method", b"GET"),
    ]  # fmt: skip
    assert verify(gateway(), "/tracks/7.mp3", BROWSER, *more).status == 200


def test_monitor_mode_refuses_nothing_not_even_what_cannot_be_read():
    guard = gateway("mode: monitor")
    got = verify(guard)
    assert (got.status, got.values(b"x-noai-verdict"), got.values(b"x-noai-mode")) == (200, [b"deny"], [b"monitor"])
    assert verify(guard, "/a#b").status == 200


@pytest.mark.parametrize("uri", ["/a#b", "/a b", "/a\x00", "/a\x7f", "/a\tb", "", "#"])
def test_what_is_no_request_target_is_no_for_a_scraper_and_yes_for_a_listener(uri):
    guard = gateway()
    assert verify(guard, uri, BROWSER).status == 200
    assert verify(guard, uri, SCRAPER).status == 403
    assert metric(guard, "gateway_problems", problem="uri_malformed") == 2


@pytest.mark.parametrize("user_agent", [BROWSER, SCRAPER])
def test_a_path_that_is_too_long_to_be_read_is_decided_as_in_the_middleware(user_agent):
    path = "/press/" + "a" * 70_000
    same = ask(guarded(answering(), PRESS_OPEN), http(path, user_agent))
    assert (
        verify(gateway(PRESS_OPEN), path, user_agent).status == same.status == (200 if user_agent == BROWSER else 403)
    )


@pytest.mark.parametrize("path", [
    "/song/%CA%BF%C0%AE.html", "/music/%C0%AE%B0%C8.html", "/%C0%AF.html", "/%00", "/a%2fb", "/..;/x", "/%e0%80%af",
])  # fmt: skip
def test_no_odd_reading_of_a_path_refuses_a_listener(path):
    for uri in (path, path + "x" * 9_000, unquote(path, "latin-1")):
        assert verify(gateway(CLOSED), uri, BROWSER).status == 200 or "\0" in uri
        assert verify(gateway(CLOSED), uri, SCRAPER).status == 403


@pytest.mark.parametrize("method", [b"", b"GE T", b"G\xff", b"X" * 33])
def test_what_is_no_method_is_no_for_a_scraper_and_yes_for_a_listener(method):
    guard = gateway()
    assert verify(guard, "/", BROWSER, (b"x-original-method", method)).status == 200
    assert verify(guard, "/", SCRAPER, (b"x-original-method", method)).status == 403
    assert metric(guard, "gateway_problems", problem="method_malformed") == 2


@pytest.mark.parametrize("uri", [
    "/songs/1/..%2f..%2frobots.txt", "/songs/1/../../robots.txt", "//robots.txt", "/%72obots.txt", "/robots.txt;x",
    "/./robots.txt", "/robots.txt/../songs/1", "/songs/..;/robots.txt", "/robots.txt%00", "/.well-known/./tdmrep.json",
])  # fmt: skip
def test_a_document_is_only_its_very_path(uri):
    assert verify(gateway(), uri, SCRAPER).status == 403
    assert verify(gateway(), uri, BROWSER).status == 200


CLOSED = "paths: {/open/**: {usages: {train-ai: yes, data-broker: yes, scraper: yes}}}\n"


@pytest.mark.parametrize(("uri", "status"), [
    ("/open/x", 200), ("/%6fpen/x", 200), ("/open/x?..", 200), ("/open/%ff", 200), ("/open/caf%E9", 200),
    ("/open/%C0%20la%20carte", 200), ("/open/a;b=../x", 200), ("/open/..a;/x", 200), ("/open/a\\b", 200),
    ("/open/a...;b", 200), ("/open/./x", 200), ("http://evil.example/open/x", 200),
    ("/open/../x", 403), ("/open/%2e%2e/x", 403), ("/open/%2E./x", 403), ("/open%2f..%2fx", 403), ("/x?/open/x", 403),
    ("/x?a=/../open/x", 403), ("http://open/x", 403), ("/OPEN/x", 403), ("/open;a/x", 403), ("/open%3b/x", 403),
    ("/open%23/x", 403), ("/open/%c0%ae%c0%ae/x", 403), ("*", 403),
    # What some servers read as another path is as strict as that one.
    ("/x/../open/x", 403), ("//open//x", 403), ("/open%2fx", 403), ("/open/%252e%252e/x", 403), ("/open\\..\\x", 403),
    ("/open/..;/x", 403), ("/open/%2e%2e%3ba=b/x", 403), ("/open/..\\x", 403), ("/open\\../x", 403), ("/open/..%00/x", 403),
])  # fmt: skip
def test_the_judged_path_is_the_one_the_site_sees(uri, status):
    assert verify(gateway(CLOSED), uri).status == status
    assert verify(gateway(CLOSED), uri, path=NGINX).status == (204 if status == 200 else 403)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), min_size=1, max_size=60))
def test_a_uri_is_decoded_once_as_asgi_servers_decode_it(tail):
    request = PlainRequest(VERIFY, [(b"x-original-uri", b"/" + tail.encode())], "GET", PROXY)
    with suppress(Malformed):
        assert original_request(request).path == unquote(("/" + tail).partition("?")[0])


@given(st.lists(st.tuples(
    st.sampled_from([b"x-original-uri", b"x-original-url", b"x-forwarded-uri", b"x-original-method", b"host",
                     b"x-forwarded-host", b"user-agent"]),
    st.binary(max_size=40)), max_size=6))  # fmt: skip
def test_no_headers_make_it_judge_two_ways(fields):
    asked = PlainRequest(VERIFY, [(b"x-original-uri", b"/a"), *fields], "GET", PROXY)
    with suppress(Malformed):
        assert normal_path(original_request(asked).path) == "/a"


def test_envoy_appends_the_path_and_keeps_the_method():
    guard = gateway(CLOSED)
    assert verify(guard, None, SCRAPER, path=VERIFY + "/open/x").status == 200
    assert verify(guard, None, SCRAPER, path=VERIFY + "/open/../x").status == 403
    assert verify(guard, None, BROWSER, path=VERIFY + "/").status == 200
    head = verify(guard, None, SCRAPER, path=VERIFY + "/x", method="HEAD")
    assert (head.status, head.body) == (403, b"")
    assert verify(guard, "/open/x", SCRAPER, path=VERIFY + "/x").status == 403
    for own in ("/nginx", "/answer", "/.noai/verify", "/.noai/health", "/metrics", "/robots.txt/x"):
        assert verify(guard, None, SCRAPER, path=VERIFY + own).status == 403
    for raw, status in ((b"/open/x", 200), (b"/open%2Fx", 403), (b"/open/%00", 403), (b"/open/%252e%252e/x", 403)):
        path = unquote(raw.decode())
        assert verify(guard, None, SCRAPER, path=VERIFY + path, raw_path=VERIFY.encode() + raw).status == status


def test_the_gateways_own_query_and_body_say_nothing():
    got = verify(gateway(CLOSED), "/x", query_string=b"uri=/open/x", method="POST")
    assert got.status == 403


def test_documents_are_let_in_for_everyone_and_served():
    guard = gateway()
    for path in ("/robots.txt", "/.well-known/tdmrep.json"):
        assert verify(guard, path).status == 200
        assert verify(guard, path, path=NGINX).status == 200
        assert ask(guard, http(path, SCRAPER)).status == 200
    assert ask(guard, http("/robots.txt", SCRAPER, method="HEAD")).body == b""
    assert ask(guard, http("/robots.txt", SCRAPER, method="POST")).status == 404
    assert ask(guard, http("/anything", SCRAPER)).status == 404
    assert metric(guard, "requests") == 0


def test_the_sites_own_robots_txt_is_merged_and_the_last_one_stands(tmp_path):
    own = tmp_path / "robots.txt"
    own.write_text("User-agent: *\nDisallow: /private\n")
    guard = gateway(own_robots=own)
    assert "Disallow: /private" in ask(guard, http("/robots.txt")).text
    own.unlink()
    assert "Disallow: /private" in ask(guard, http("/robots.txt")).text
    assert metric(guard, "guard_failures", place="robots_txt") == 1


def test_who_has_read_robots_txt_through_a_proxy_and_comes_anyway_is_counted():
    guard = gateway()
    by = (b"x-forwarded-for", b"203.0.113.50")
    verify(guard, "/robots.txt", SCRAPER, by)
    verify(guard, "/", SCRAPER, by)
    verify(guard, "/", SCRAPER, (b"x-forwarded-for", b"203.0.113.51"))
    assert metric(guard, "robots_ignored", agent="GPTBot") == 1


def test_a_verdict_says_how_long_and_for_whom_it_holds():
    guard = gateway(CLOSED, hold=7)
    said = {}
    for uri in ("/x", "/y/z", "/open/x"):
        for user_agent in (BROWSER, SCRAPER):
            got = verify(guard, uri, user_agent, path=NGINX)
            assert got.values(b"cache-control") == [b"max-age=7"]
            said[uri, user_agent] = got.values(b"x-noai-key")[0]
    assert said["/x", SCRAPER] == said["/y/z", SCRAPER]
    assert len({said["/x", SCRAPER], said["/open/x", SCRAPER], said["/x", BROWSER]}) == 3
    assert said["/x", SCRAPER].startswith(b"GPTBot|*|")
    assert verify(guard, "/x", BROWSER).values(b"cache-control") == [b"max-age=7"]
    assert verify(guard, "/x").values(b"cache-control") == [b"no-store"]


def test_a_verdict_by_address_holds_for_an_address_block():
    guard = gateway("exemptions: {addresses: [198.51.100.0/24]}\n")
    got = verify(guard, "/x", SCRAPER, (b"x-forwarded-for", b"198.51.100.7"), path=NGINX)
    assert (got.status, got.values(b"cache-control")) == (204, [b"max-age=10"])
    assert b"|198.51.100.7/32|" in got.values(b"x-noai-key")[0]


@pytest.mark.parametrize(("text", "more"), [
    ("usages: {train-ai: throttle}\n", []),
    ("", [(b"user-agent", b"another")]),
    ("", [(b"x-forwarded-uri", b"/other")]),
    ("", [(b"x-forwarded-uri", b"//x")]),
])  # fmt: skip
def test_what_was_counted_or_is_not_told_by_one_user_agent_is_not_kept(text, more):
    got = verify(gateway(text), "/x", SCRAPER, *more, path=NGINX)
    assert got.values(b"cache-control") == [b"no-store"]
    assert not got.values(b"x-noai-key")


def test_a_hold_of_nothing_keeps_nothing():
    assert verify(gateway(hold=0), path=NGINX).values(b"cache-control") == [b"no-store"]


def test_values_are_one_line_of_ascii_whatever_the_policy_says():
    rule = "rules: [{id: r, agents: [GPTBot], action: deny, message: 'Grüße aus Köln'}]\n"
    for path in (VERIFY, NGINX):
        for name, value in verify(gateway(rule), path=path).headers:
            assert name.isascii()
            assert value.isascii()
            assert value.decode().isprintable()


def test_a_client_address_that_equals_the_proxys_port_changes_nothing():
    text = "exemptions: {addresses: [127.0.0.0/8]}\n"
    by = (b"x-forwarded-for", b"127.0.0.1:40000, 203.0.113.5")
    assert verify(gateway(text), "/", SCRAPER, by).status == 403


def test_a_guard_that_is_broken_leaves_it_to_on_unknown():
    def broken(*args):
        raise ZeroDivisionError

    for text, status in (("", 200), ("on_unknown: deny\n", 403)):
        guard = gateway(text)
        guard.runtime.compiled.guard.claims._function = broken
        assert verify(guard).status == status
    guard = gateway()
    guard._prepared = None  # type: ignore[assignment]
    assert verify(guard, user_agent=BROWSER).status == 503
    assert metric(guard, "guard_failures") == 1


def test_metrics_websockets_and_the_lifespan():
    guard = gateway()
    verify(guard)
    assert b"noai_requests_total" in ask(guard, http("/metrics")).body
    closed = ask(guard, {**http("/"), "type": "websocket"}, {"type": "websocket.connect"})
    assert closed.messages[0]["code"] == 1008
    for user_agent, status in ((BROWSER, 200), (SCRAPER, 403)):
        asked = http(VERIFY, user_agent, (b"x-original-uri", b"/live"), client=("127.0.0.1", 1))
        handshake = {**asked, "type": "websocket", "extensions": {"websocket.http.response": {}}}
        start, body = ask(guard, handshake, {"type": "websocket.connect"}).messages
        assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
        assert (body["type"], bool(body["body"])) == ("websocket.http.response.body", status == 403)
    sent: list[str] = []

    async def lifespan():
        received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive():
            return received.pop(0)

        async def send(message):
            sent.append(message["type"])

        await guard({"type": "lifespan"}, receive, send)

    asyncio.run(lifespan())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    "more", [[], [(b"x-forwarded-for", b"unknown")], [(b"x-forwarded-for", b"127.0.0.1, nonsense")]]
)
def test_the_proxys_own_address_is_not_exempt_for_whom_it_passes_on(more):
    guard = gateway("exemptions: {addresses: [127.0.0.1]}\n")
    assert verify(guard, "/", SCRAPER, *more).status == 403
    assert verify(guard, "/", SCRAPER, (b"x-forwarded-for", b"127.0.0.1")).status == 200
