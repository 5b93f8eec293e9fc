"""A WSGI request is read as the same request through ASGI."""

import pytest

from noai_guard import Invalid, NoAIWSGIMiddleware
from noai_guard.core.guard import Guard
from noai_guard.core.model import Action
from noai_guard.observability import decision_log
from tests.middleware.asgi_kit import BROWSER, LIBRARY, SCRAPER, metric
from tests.middleware.wsgi_kit import answering, ask, guarded, http, sees

PRESS_OPEN = "paths:\n  /künstler/**: {usages: {train-ai: yes}}\n  /press/**: {usages: {train-ai: yes}}\n"


def broken(*arguments, **keywords):
    raise RuntimeError("ours")


def test_a_listener_is_let_in_with_the_verdict_and_a_scraper_is_refused():
    app, environs = sees()
    guard = guarded(app)
    assert ask(guard, http()).body == b"hello"
    assert environs[0]["noai.verdict"].action is Action.ALLOW
    assert ask(guard, http("/", LIBRARY)).body == b"hello"
    assert environs[1]["noai.verdict"].action is Action.LOG
    refused = ask(guard, http("/tracks/7.mp3", SCRAPER))
    assert (refused.starts[0][0], len(refused.starts)) == ("403 Forbidden", 1)
    assert len(environs) == 2
    assert metric(guard, "requests", action="deny", agent="GPTBot") == 1
    assert metric(guard, "bytes", outcome="refused") == len(refused.body)


@pytest.mark.parametrize("method", ["HEAD", "head", "Head"])
def test_a_refused_head_announces_the_length_and_has_no_body(method):
    guard = guarded(answering(), checked=False)
    head, get = (ask(guard, http("/", SCRAPER, REQUEST_METHOD=name), checked=False) for name in (method, "GET"))
    assert (head.status, head.headers, head.body) == (403, get.headers, b"")


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/press/a", False),
        ("/künstler/a", False),
        ("/tracks/../künstler/", True),
        ("//press//a", True),
        ("/press/../tracks/a", True),
        ("http://evil.example/press/a", False),
        ("http://evil.example/press/../tracks", True),
        ("*", True),
        ("", True),
        ("/press/\udcff", False),
        ("/k\udcc3/", True),
        ("/press\\..\\tracks", True),
        ("/press/\x00", False),
    ],
)
def test_the_path_is_the_bytes_as_utf_8_in_all_its_readings(path, refused):
    guard = guarded(answering(), PRESS_OPEN, checked=False)
    assert ask(guard, http(path, SCRAPER), checked=False).status == (403 if refused else 200)
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize(
    ("script", "path", "refused"),
    [("/press", "/a", False), ("/press", "", False), ("/app", "/press/a", True), ("/app/..", "/press/a", True)],
)
def test_a_mounted_app_is_judged_by_the_whole_path(script, path, refused):
    guard = guarded(answering(), PRESS_OPEN)
    assert ask(guard, http(path, SCRAPER, SCRIPT_NAME=script)).status == (403 if refused else 200)


@pytest.mark.parametrize(
    ("script", "path", "refused"),
    [("/press", "/songs/1", True), ("/press", "/press/a", False), ("", "/press/a", False)],
)
def test_an_app_that_is_mounted_by_a_header_is_judged_by_what_it_sees_too(script, path, refused):
    guard = guarded(answering(), PRESS_OPEN)
    for key in ("HTTP_SCRIPT_NAME", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_SCRIPT_NAME"):
        told = {"SCRIPT_NAME": script, key: script}
        assert ask(guard, http(path, SCRAPER, **told)).status == (403 if refused else 200)
        assert ask(guard, http(path, BROWSER, **told)).status == 200
    assert metric(guard, "guard_failures") == 0


def test_a_path_too_long_to_be_read_refuses_who_is_refused_anywhere_and_nobody_else():
    guard = guarded(answering(), PRESS_OPEN)
    assert ask(guard, http("/press/" + "a" * 9_000)).status == 200
    assert ask(guard, http("/press/" + "a" * 9_000, SCRAPER)).status == 403
    assert ask(guard, http("/press/" + "é" * 6_000, SCRAPER)).status == 200  # counted in characters, as ASGI's


@pytest.mark.parametrize("comma", [b",", b", "])
@pytest.mark.parametrize(
    "lines", [(BROWSER, SCRAPER), (SCRAPER, BROWSER), (b"", SCRAPER), (BROWSER, b"Cursor/1.0", b"")]
)
def test_every_user_agent_line_is_judged(lines, comma):
    assert ask(guarded(answering()), http("/", comma.join(lines))).status == 403


@pytest.mark.parametrize(
    "user_agent", [b"Shifty Jelly Pocket Casts, iOS v4.2", b"App/1.0 (Linux, Cursor/1.0)", b"a,b" * 9999]
)
def test_commas_in_one_line_join_nothing(user_agent):
    assert ask(guarded(answering()), http("/", user_agent)).status == 200


@pytest.mark.parametrize(
    "user_agent", [None, b"", b" ", b"\xff\xfe", b"1" * 5000, b"a" * 1_000_000, b"(" * 60_000, b"," * 60_000]
)
def test_odd_user_agents_are_let_in_quietly(user_agent):
    guard = guarded(answering())
    assert ask(guard, http(user_agent=user_agent)).status == 200
    assert metric(guard, "guard_failures") == 0


@pytest.mark.parametrize("text", ["extends: no-ai", "mode: monitor"])
@pytest.mark.parametrize("other", ["extends: no-ai", "mode: monitor"])
def test_of_two_guards_the_stricter_counts_and_a_warning_says_once_that_there_are_two(text, other, caplog):
    guard = guarded(guarded(answering(), text), other)
    assert len(ask(guard, http()).values(b"content-usage")) == 1
    assert ask(guard, http(user_agent=SCRAPER)).status == (200 if text == other == "mode: monitor" else 403)
    assert len([record for record in caplog.records if "within another guard" in record.message]) == 1


EXEMPT = """
exemptions: {addresses: [198.51.100.0/24]}
trusted_proxies: {peers: [10.0.0.0/8, "unix:"], header: x-forwarded-for}
"""


@pytest.mark.parametrize(
    ("peer", "forwarded", "status"),
    [
        ("198.51.100.7", None, 200),
        ("203.0.113.7", "198.51.100.7", 403),
        ("10.1.2.3", "198.51.100.7", 200),
        ("10.1.2.3", "198.51.100.7,203.0.113.9", 403),
        ("10.1.2.3", "203.0.113.9, 198.51.100.7", 200),
        ("", "198.51.100.7", 200),
        ("no address", "198.51.100.7", 403),
    ],
)
def test_the_address_is_the_peers_or_what_a_trusted_proxy_says(peer, forwarded, status):
    keys = {"REMOTE_ADDR": peer, **({"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {})}
    assert ask(guarded(answering(), EXEMPT), http("/", SCRAPER, **keys)).status == status


def test_rations_are_counted_by_client_and_told():
    guard = guarded(answering(), "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 2, seconds: 3600}}\n")
    exchanges = [ask(guard, http("/", SCRAPER)) for _ in range(3)]
    assert [exchange.status for exchange in exchanges] == [200, 200, 429]
    assert exchanges[2].values(b"retry-after")
    assert ask(guard, http("/", SCRAPER, REMOTE_ADDR="203.0.114.1")).status == 200


@pytest.mark.parametrize(("text", "status"), [("on_unknown: allow", 200), ("on_unknown: deny", 403)])
def test_a_guard_that_fails_does_what_the_policy_says_and_is_counted(text, status, monkeypatch, caplog):
    monkeypatch.setattr(Guard, "_read", broken)
    guard = guarded(answering(), text)
    assert ask(guard, http()).status == status
    assert metric(guard, "guard_failures", place="judging") == 1
    assert "ours" in caplog.text


@pytest.mark.parametrize("damage", [{"REQUEST_METHOD": None}, {"PATH_INFO": None}, {"HTTP_USER_AGENT": 7}, {"HTTP_USER_AGENT": []},
                                    {"PATH_INFO": "/日本"}, {"SCRIPT_NAME": 3}, {"REMOTE_ADDR": 5}])  # fmt: skip
def test_an_environ_that_no_server_should_make_is_answered(damage):
    assert ask(guarded(answering(), EXEMPT, checked=False), {**http(), **damage}, checked=False).status == 200


def test_an_environ_with_nothing_in_it_is_answered():
    assert (
        ask(guarded(lambda environ, start: start("200 OK", []) and [b""], checked=False), {}, checked=False).status
        == 200
    )


def test_the_decision_log_says_who_and_where(caplog):
    decision_log.decisions.setLevel("INFO")
    try:
        ask(guarded(answering()), http("/ünder\n", SCRAPER, HTTP_HOST="music.example"))
    finally:
        decision_log.decisions.setLevel("NOTSET")
    (record,) = [record for record in caplog.records if record.name == "noai_guard.decisions"]
    facts = record.noai
    assert (facts["host"], facts["path"], facts["client"]) == ("music.example", r"/\xfcnder\n", "203.0.113.7")


def test_a_scraper_that_has_read_robots_txt_is_counted():
    guard = guarded(answering())
    ask(guard, http("/robots.txt", SCRAPER))
    ask(guard, http("/tracks/7", SCRAPER))
    assert metric(guard, "robots_ignored", agent="GPTBot") == 1


def test_a_policy_that_cannot_be_used_ends_the_start(tmp_path):
    (tmp_path / "noai.yaml").write_text("usages: {trian-ai: no}")
    with pytest.raises(Invalid, match="trian-ai"):
        NoAIWSGIMiddleware(answering(), tmp_path / "noai.yaml")


@pytest.mark.parametrize("key", ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"])
def test_an_address_that_may_be_from_a_header_is_not_exempt(key):
    guard = guarded(answering(), "exemptions: {addresses: [203.0.113.7]}")
    assert ask(guard, http("/", SCRAPER)).status == 200
    assert ask(guard, http("/", SCRAPER, **{key: "203.0.113.7"})).status == 403
