import asyncio
import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from noai_guard.cli.explain import as_facts, described_request, explain
from noai_guard.middleware.asgi import NoAIMiddleware
from noai_guard.middleware.runtime import GuardRuntime

POLICY = """
extends: no-ai
site: {url: https://label.example, contact: rights@label.example, licence: https://label.example/licence}
usages: {seo: throttle}
paths:
  /press/**: {usages: {ai-search: yes, ai-input: yes, train-ai: license_required}}
rules:
  - {id: no-curl-audio, agents: [curl], paths: ["/audio/**"], action: deny, message: Use a browser.}
exemptions: {paths: [/open/**], agents: [CCBot], addresses: [203.0.113.0/24]}
trusted_proxies: {peers: [10.0.0.0/8], header: x-forwarded-for}
"""
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
USER_AGENTS = [
    (),
    (CHROME,),
    ("GPTBot/1.3",),
    (CHROME, "GPTBot/1.3"),
    ("curl/8.5",),
    ("CCBot/2.0",),
    ("PerplexityBot",),
    ("Whoknowsbot/0.1",),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",),
]
PATHS = ["/", "/press/kit", "/audio/a.mp3", "/open/data", "/robots.txt", "/.well-known/tdmrep.json", "/a/../press//x"]
REST = [
    ("GET", "198.51.100.7", ()),
    ("GET", "203.0.113.9", (("Accept", "application/json"),)),
    ("HEAD", "10.0.0.1", (("X-Forwarded-For", "203.0.113.9"), ("Accept", "text/html"))),
    ("POST", "198.51.100.7", (("X-Forwarded-For", "203.0.113.9"), ("Range", "bytes=0-"))),
]


async def audio(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"audio/mpeg")]})
    await send({"type": "http.response.body", "body": b"ok"})


def answered(guarded: NoAIMiddleware, user_agents: Any, path: str, method: str, peer: str, headers: Any) -> Any:
    """What the middleware really does: the verdict in the scope, and what is sent."""
    sent: list[Any] = []
    lines = [("user-agent", line) for line in user_agents] + list(headers)
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "client": (peer, 40000),
        "headers": [(name.lower().encode(), value.encode()) for name, value in lines],
    }

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    asyncio.run(guarded(scope, receive, send))
    return {"verdict": scope.get("state", {}).get("noai"), "start": sent[0], "body": sent[1]["body"]}


def printed(run: Any, policy: str | None, user_agents: Any, path: str, method: str, peer: str, headers: Any) -> Any:
    arguments = ["--path", path, "--method", method.lower(), "--ip", peer, "--format", "json"]
    for user_agent in user_agents:
        arguments += ["--ua", user_agent]
    for name, value in headers:
        arguments += ["--header", f"{name}: {value}"]
    if policy:
        arguments += ["--policy", policy]
    return json.loads(run("explain", *arguments).stdout)


def text_of(headers: Any) -> list[list[str]]:
    return [[name.decode(), value.decode()] for name, value in headers]


@pytest.mark.parametrize("own", [True, False], ids=["own policy", "packaged stance"])
@pytest.mark.parametrize("path", PATHS)
def test_explain_says_what_the_middleware_does(write, own, path):
    policy = write(POLICY) if own else None
    guarded = NoAIMiddleware(audio, policy, registry=CollectorRegistry())
    runtime = GuardRuntime(policy, registry=CollectorRegistry(), peer_is_real=True)
    for user_agents, (method, peer, headers) in product(USER_AGENTS, REST):
        request = described_request(user_agents, peer, path, method, [f"{name}: {value}" for name, value in headers])
        facts = json.loads(json.dumps(as_facts(explain(runtime, request))))
        real = answered(guarded, user_agents, path, method, peer, headers)
        verdict = real["verdict"]
        if verdict is None:
            assert facts["document"]["path"] == path
            assert (facts["declares"], real["start"]["status"]) == (text_of(real["start"]["headers"]), 200)
            continue
        assert facts["document"] is None
        assert (facts["action"], facts["rule"], facts["usage"]) == (verdict.action, verdict.rule, verdict.usage)
        assert facts["agent"] == (verdict.agent.name if verdict.agent else None)
        assert facts["reasons"] == list(verdict.reasons)
        assert facts["refused"] is (real["start"]["status"] != 200)
        if facts["refused"]:
            assert facts["refusal"]["status"] == real["start"]["status"]
            assert facts["refusal"]["headers"] == text_of(real["start"]["headers"])
            assert method == "HEAD" or facts["refusal"]["body"].encode() == real["body"]
        else:
            assert [["content-type", "audio/mpeg"], *facts["declares"]] == text_of(real["start"]["headers"])


def test_the_address_comes_from_a_trusted_proxy_only(run, write):
    header = (("X-Forwarded-For", "203.0.113.9"),)
    believed = printed(run, write(POLICY), ("GPTBot",), "/", "GET", "10.0.0.1", header)
    doubted = printed(run, write(POLICY), ("GPTBot",), "/", "GET", "192.0.2.1", header)
    assert believed["client"] == {"address": "203.0.113.9", "source": "x-forwarded-for", "problem": None}
    assert (believed["rule"], believed["action"]) == ("exempt-address", "allow")
    assert doubted["client"] == {"address": "192.0.2.1", "source": "socket", "problem": "peer_not_trusted"}
    assert doubted["refused"] is True


def test_a_client_that_no_rule_knows_is_described(run):
    facts = json.loads(run("explain", "--ua", CHROME, "--format", "json").stdout)
    assert facts["looks_like"].startswith("Chrome 141")
    assert "not a bot" in facts["looks_like"]


def test_people_read_reasons_headers_and_the_refusal(run):
    text = run("explain", "--ua", "GPTBot/1.3", "--path", "/tracks/song", "--ip", "198.51.100.7").stdout
    for part in ("deny  HTTP 403", "rule       train-ai", "GPTBot of OpenAI", "/** (the whole site)",
                 "198.51.100.7, from the socket", "known for train-ai", "x-robots-tag: noai, noimageai",
                 "GPTBot (OpenAI) is not allowed to fetch this to train AI"):  # fmt: skip
        assert part in text


def test_people_are_told_of_search_engines_with_ai(run):
    assert "robots.txt token Google-Extended" in run("explain", "--ua", USER_AGENTS[-1][0]).stdout


def test_people_are_told_that_monitor_mode_lets_in(run, write):
    text = run("explain", "--ua", "GPTBot", "--policy", write("mode: monitor\n")).stdout
    assert "deny  let in, because mode is monitor" in text


def test_what_is_let_in_anyway_owes_nothing_to_monitor_mode(run, write):
    text = run("explain", "--ua", "VLC/3.0.21", "--policy", write("mode: monitor\n")).stdout
    assert "allow  let in\n" in text
    assert "monitor" not in text


def test_people_are_told_of_a_rate(run, write):
    file = write("usages: {train-ai: throttle}\nlimits: {throttle: {requests: 5, seconds: 60}}\n")
    assert "after 5 in 60 s it is 429" in run("explain", "--ua", "GPTBot", "--policy", file).stdout


def test_a_declaration_is_for_everyone(run):
    text = run("explain", "--ua", "GPTBot", "--path", "/robots.txt").stdout
    assert "allow  a declaration of the site" in text
    assert "merged" in text


def test_a_url_with_a_query_is_judged_by_its_path(run, write):
    facts = printed(run, write(POLICY), ("GPTBot",), "https://label.example/press/%6Bit?x=/y", "GET", "192.0.2.1", ())
    assert (facts["request"]["path"], facts["section"]) == ("/press/kit", "/press/**")
    assert facts["refusal"]["status"] == 402


def test_control_characters_of_a_request_do_nothing_to_the_terminal(run):
    assert "\x1b" not in run("explain", "--path", "/\x1b[31m", "--method", "\x1b]0;x", "--ua", "\x1b[2J").stdout


@cache
def runner() -> Any:
    from click.testing import CliRunner

    return CliRunner()


@given(st.lists(st.text(max_size=20), max_size=3), st.text(max_size=20), st.text(max_size=20), st.text(max_size=9))
@settings(max_examples=60, deadline=None)
def test_no_argument_makes_a_traceback(user_agents, path, header, peer):
    from noai_guard.cli import main

    arguments = ["explain", f"--path={path}", f"--header={header}", *([f"--ip={peer}"] if peer else [])]
    result = runner().invoke(main, [*arguments, *(f"--ua={line}" for line in user_agents)])
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    assert result.exit_code in (0, 2)


def test_bytes_that_are_no_text_are_no_traceback():
    import subprocess
    import sys

    command = [sys.executable.encode(), b"-m", b"noai_guard", b"explain", b"--ua", b"GPTBot \xff", b"--path", b"/\xe9"]
    answer = subprocess.run(command, capture_output=True, timeout=60, cwd=Path(__file__).parent)
    assert answer.returncode == 0, answer.stderr
    assert b"deny" in answer.stdout
