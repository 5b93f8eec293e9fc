"""Real proxies with our configuration: each gives every client what the policy says, and the site what was sent."""

import hashlib
import json
import os

import pytest

from tests.forward_auth.rig import BROWSER, EDGES, LICENSED, RATIONED, SCRAPER, fetch

proxies = pytest.mark.parametrize("key", EDGES)

SPOOFED = [
    ("X-NoAI-Verdict", "allow"), ("X-NoAI-Agent", "nobody"), ("X-NoAI-Rule", "spoofed"), ("X-NoAI-Mode", "spoofed"),
    ("X-NoAI-Status", "204"), ("X-NoAI-Reason", "spoofed"), ("X_NoAI_Verdict", "spoofed"),
    ("x_noai_agent", "spoofed"), ("X.NoAI.Verdict", "spoofed"),
    ("X-Original-URI", "/robots.txt"), ("X-Original-URL", "/robots.txt"), ("X-Forwarded-Uri", "/robots.txt"),
    ("X-Original-Method", "GET"), ("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", "evil.example"),
]  # fmt: skip


@proxies
def test_a_listener_plays_and_seeks(key, edges, audio):
    port, content = edges(key), audio.read_bytes()
    whole = fetch(port, "/audio.mp3")
    assert (whole.status, whole.body) == (200, content)
    part = fetch(port, "/audio.mp3", headers=[("Range", "bytes=1000-1999")])
    assert (part.status, part.body) == (206, content[1000:2000])
    head = fetch(port, "/audio.mp3", method="HEAD")
    assert (head.status, head.body, head.value("content-length")) == (200, b"", str(len(content)))


@proxies
def test_a_scraper_is_refused_and_told_why(key, edges):
    port = edges(key)
    for target in ("/", "/audio.mp3", "/?next=/robots.txt", "/robots.txt/../audio.mp3"):
        got = fetch(port, target, SCRAPER)
        assert (got.status, "GPTBot" in got.body.decode()) == (403, True), target
        assert "no-store" in got.value("cache-control")
    head = fetch(port, "/audio.mp3", SCRAPER, method="HEAD")
    assert (head.status, head.body) == (403, b"")
    assert fetch(port, "/", SCRAPER, method="POST", body=b"x" * 1000).status == 403


@proxies
def test_a_page_load_that_is_refused_gets_a_page_and_a_program_json(key, edges):
    page = fetch(edges(key), "/", SCRAPER, [("Accept", "text/html,*/*;q=0.8")])
    assert (page.status, page.value("content-type")) == (403, "text/html; charset=utf-8")
    answer = fetch(edges(key), "/", SCRAPER, [("Accept", "application/json")])
    assert json.loads(answer.body)["agent"] == "GPTBot"


@proxies
def test_who_needs_a_licence_is_told_where_to_get_it(key, edges):
    got = fetch(edges(key), "/audio.mp3", LICENSED)
    assert got.status == 402
    assert "licence" in got.body.decode()
    assert "https://music.example/licence" in got.value("link")


@proxies
def test_who_comes_too_often_is_told_when_to_come_again(key, edges):
    for _ in range(20):
        got = fetch(edges(key), "/audio.mp3", RATIONED)
        if got.status != 200:
            break
    assert got.status == 429
    assert int(got.value("retry-after")) > 0
    assert "CCBot" in got.body.decode()


@proxies
def test_what_is_let_in_carries_the_declarations(key, edges):
    for target in ("/", "/audio.mp3"):
        got = fetch(edges(key), target)
        robots = [part.strip() for value in got.values("x-robots-tag") for part in value.split(",")]
        assert robots == ["noai", "noimageai", "noarchive"]
        assert got.value("content-usage") == "train-ai=n, ai-use=n, search=y"
        assert got.value("tdm-reservation") == "1"
        assert "/license.xml>" in got.value("link")


@proxies
def test_a_part_of_the_site_that_reserves_nothing_declares_nothing(key, edges):
    got = fetch(edges(key), "/press/kit", SCRAPER)
    assert got.status == 200
    assert not got.value("x-robots-tag")
    assert not got.value("content-usage")


@proxies
def test_documents_are_for_everyone(key, edges):
    for user_agent in (BROWSER, SCRAPER):
        robots = fetch(edges(key), "/robots.txt", user_agent)
        assert (robots.status, "User-agent: GPTBot" in robots.body.decode()) == (200, True)
        tdm = fetch(edges(key), "/.well-known/tdmrep.json", user_agent)
        assert {"location": "/", "tdm-reservation": 1} in json.loads(tdm.body)


@proxies
def test_a_body_reaches_the_site_unharmed(key, edges):
    body = os.urandom(200_000)
    got = fetch(edges(key), "/upload?to=x", method="POST", body=body)
    assert got.said["body"] == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert (got.said["method"], got.said["query"]) == ("POST", "to=x")


@proxies
def test_what_a_client_says_about_itself_is_never_believed(key, edges):
    for user_agent, status in ((SCRAPER, 403), (LICENSED, 402)):
        assert fetch(edges(key), "/audio.mp3", user_agent, SPOOFED).status == status


@proxies
def test_what_a_client_says_of_its_verdict_never_reaches_the_site(key, edges):
    got = fetch(edges(key), "/", BROWSER, SPOOFED)
    assert got.status == 200
    assert "spoofed" not in json.dumps([h for h in got.said["headers"] if "noai" in h[0].lower()])
    assert got.seen("x-noai-verdict") == ["allow"]
    assert got.seen("x-noai-agent") == ["none"]


@proxies
def test_the_site_learns_who_it_was(key, edges):
    got = fetch(edges(key), "/press/kit", SCRAPER)
    assert got.seen("x-noai-agent") == ["GPTBot"]
    assert got.seen("x-noai-rule") == ["train-ai@/press/**"]


@proxies
def test_the_site_is_asked_for_what_the_client_asked_for(key, edges):
    for target in ("/a/b?c=d&e=%2F", "/a%20b/c%2Fd", "/%e2%98%83", "/a;v=1/b"):
        said = fetch(edges(key), target).said
        assert f"{said['path']}?{said['query']}".removesuffix("?").lower() == target.lower()
