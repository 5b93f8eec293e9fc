"""Sites guarded by noai-guard itself, under any policy, have nothing that an audit holds against them."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from examples.demo.site import Site
from examples.music_site.app import create_app
from noai_guard import NoAIMiddleware
from noai_guard.audit.checks import findings
from noai_guard.audit.finding import Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import Probe, ProbeResult
from noai_guard.audit.probe.survey import survey
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.policy import Policy
from tests.audit.live_site import USER_AGENTS, audited
from tests.servers import require

CATALOG = load_catalog()
SITE = "https://label.example"
MUSIC_SITE = Path(__file__).parents[2] / "examples" / "music_site" / "noai.yaml"
AUDIO = b"ID3" * 2000


class AppProber:
    """Sends probes to an ASGI app without a network."""

    def __init__(self, app: Starlette) -> None:
        self.requests = 0
        self._client = TestClient(app, SITE, follow_redirects=False)

    def fetch(self, probe: Probe) -> ProbeResult:
        self.requests += 1
        request = self._client.build_request(probe.method, probe.url, headers=dict(probe.headers))
        del request.headers["user-agent"]
        if probe.user_agent is not None:
            request.headers["user-agent"] = probe.user_agent
        got = self._client.send(request)
        lines = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in got.headers.raw)
        return ProbeResult(
            probe.url, probe.url, probe.method, probe.client, got.status_code, lines, got.content[: probe.max_bytes]
        )


def app(policy: Policy) -> Starlette:
    def audio(request: Request) -> Response:
        if "if-none-match" in request.headers:
            return Response(status_code=304, headers={"etag": '"1"'})
        if "range" in request.headers:
            return Response(AUDIO[:1024], 206, {"content-range": f"bytes 0-1023/{len(AUDIO)}"}, "audio/mpeg")
        return Response(AUDIO, headers={"etag": '"1"'}, media_type="audio/mpeg")

    def page(request: Request) -> Response:
        return HTMLResponse('<!doctype html><html><head><title>x</title></head><audio src="/music/a.mp3"></html>')

    made = Starlette(routes=[Route("/", page), Route("/press/", page), Route("/music/a.mp3", audio)])
    made.add_middleware(NoAIMiddleware, policy=policy)
    return made


def policy_of(text: str) -> Policy:
    policy, problems = check_policy_text(text.encode())
    assert policy, problems
    return policy


def above_note(policy: Policy, path: str = "/") -> set[str]:
    observations = survey(AppProber(app(policy)), SITE + path, user_agents=USER_AGENTS)
    found = findings(Interpretation(observations, CATALOG))
    return {finding.rule.code for finding in found if finding.rule.severity is not Severity.NOTE}


SITE_LINES = f"site: {{url: {SITE}, contact: rights@label.example, licence: https://licences.example/}}\n"
AI = ("train-ai", "ai-search", "ai-input", "ai-agent", "data-broker", "scraper")


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_a_stance_as_it_is_packaged(stance: str) -> None:
    assert above_note(policy_of(f"extends: {stance}\nmode: enforce\n{SITE_LINES}")) == set()


def test_a_policy_that_declares_everything() -> None:
    lines = "declarations: {ai_txt: yes, trust_txt: yes}\n"
    assert above_note(policy_of(f"mode: enforce\n{SITE_LINES}{lines}")) == set()


def test_a_policy_that_only_watches_is_declared_and_not_enforced() -> None:
    assert above_note(policy_of(f"mode: monitor\n{SITE_LINES}")) == {"A601"}


@pytest.mark.parametrize("path", ["/", "/press/"])
def test_a_part_of_the_site_that_is_open_contradicts_nothing(path: str) -> None:
    lines = "declarations: {trust_txt: yes, ai_txt: yes}\n"
    opened = "paths: {/press/**: {usages: {train-ai: yes, ai-search: yes, ai-input: yes, ai-agent: yes}}}\n"
    assert above_note(policy_of(f"mode: enforce\n{SITE_LINES}{lines}{opened}"), path) == set()


def test_the_example_site_as_it_is_really_served() -> None:
    require("uvicorn")
    with Site(lambda _, url: create_app(MUSIC_SITE, url), 0) as site:
        observations, by_code = audited(site.url)
    assert observations.audio
    assert observations.audio.get.media_type == "audio/wav"
    assert {finding.rule.severity for of_rule in by_code.values() for finding in of_rule} == {Severity.NOTE}


WISHES = st.dictionaries(st.sampled_from(AI), st.sampled_from(["yes", "no"]))


def written(wishes: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{usage}: {wish}" for usage, wish in wishes.items()) + "}"


@settings(
    max_examples=100 if os.environ.get("NOAI_FULL") else 8, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(WISHES, WISHES, WISHES, st.sampled_from(["/", "/press/"]))
def test_any_wishes_are_declared_without_contradiction_and_done_as_they_are_said(
    site: dict[str, str], music: dict[str, str], press: dict[str, str], path: str
) -> None:
    paths = f"paths: {{/music/**: {{usages: {written(music)}}}, /press/**: {{usages: {written(press)}}}}}\n"
    policy = policy_of(f"mode: enforce\n{SITE_LINES}usages: {written(site)}\n{paths}")
    assert above_note(policy, path) <= {"A301"}
