"""Refusals in every format, for every action that refuses."""

import json
from dataclasses import replace
from itertools import product

import html5lib
import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, HeaderField, Identity, Usage, Verdict
from noai_guard.core.policy import Site
from noai_guard.responses.actions import TEMPLATES
from tests.responses.refusals import BOT, HTML, JSON, NO_FACTS, SITE, STANCE, TEXT, refusal

REFUSING = (Action.DENY, Action.LICENSE_REQUIRED, Action.THROTTLE)

SENTENCES = [
    (Action.DENY, BOT, "TrainBot (Example Inc) is not allowed to fetch this to train AI (rule train-ai)."),
    (Action.LICENSE_REQUIRED, BOT, "TrainBot (Example Inc) needs a licence to fetch this to train AI (rule train-ai)."),
    (Action.THROTTLE, BOT, "TrainBot (Example Inc) sends more requests to train AI than are allowed, and may come again "
                           "in 60 seconds (rule train-ai)."),
    (Action.DENY, None, "This client is not allowed to fetch this (rule train-ai)."),
    (Action.LICENSE_REQUIRED, UNKNOWN_BOT, "This client needs a licence to fetch this (rule train-ai)."),
    (Action.THROTTLE, UNKNOWN_BOT, "This client sends more requests than are allowed, and may come again in 60 seconds "
                                   "(rule train-ai)."),
]  # fmt: skip


@pytest.mark.parametrize(("action", "agent", "sentence"), SENTENCES)
def test_one_sentence_names_client_purpose_and_rule(action: Action, agent: Agent | None, sentence: str) -> None:
    assert refusal(action, agent).body.decode() == f"{sentence} Policy: /.well-known/noai\n"
    assert json.loads(refusal(action, agent, headers=JSON).body)["detail"] == sentence
    assert f"<p>{sentence}</p>" in refusal(action, agent, headers=HTML).body.decode()


@pytest.mark.parametrize("action", REFUSING)
def test_contact_licence_and_policy_page_follow_if_the_site_has_them(action: Action) -> None:
    text = refusal(action, site=SITE, message="Ask us first").body.decode()
    assert text.endswith(
        " (rule train-ai). Ask us first. Contact: ä@bänd.example Licence: https://band.example/licence "
        "Policy: https://band.example/.well-known/noai\n"
    )


@pytest.mark.parametrize(
    ("message", "text"), [("Why not ask?", "Why not ask? "), ("Ask. ", "Ask. "), ("a\r\nb", "a b. ")]
)
def test_a_message_is_one_sentence_on_one_line(message: str, text: str) -> None:
    assert f"(rule train-ai). {text}Policy:" in refusal(Action.DENY, message=message).body.decode()


def test_json_holds_the_facts() -> None:
    assert json.loads(refusal(Action.LICENSE_REQUIRED, site=SITE, headers=JSON).body) == {
        "status": 402,
        "title": "Licence required",
        "detail": "TrainBot (Example Inc) needs a licence to fetch this to train AI (rule train-ai).",
        "agent": "TrainBot",
        "usage": "train-ai",
        "rule": "train-ai",
        "policy": "https://band.example/.well-known/noai",
        "contact": "mailto:%C3%A4@b%C3%A4nd.example",
        "licence": "https://band.example/licence",
    }


@pytest.mark.parametrize(
    ("action", "status"), [(Action.DENY, 403), (Action.LICENSE_REQUIRED, 402), (Action.THROTTLE, 429)]
)
@pytest.mark.parametrize("headers", [TEXT, JSON, HTML], ids=["text", "json", "html"])
def test_headers_come_in_order_and_are_true(action: Action, status: int, headers: list[HeaderField]) -> None:
    response = refusal(action, headers=headers)
    names = [name for name, _ in response.headers]
    fields = dict(response.headers)
    assert response.status == status
    assert names[:5] == [b"content-type", b"content-length", b"cache-control", b"vary", b"x-content-type-options"]
    assert fields[b"content-length"] == b"%d" % len(response.body)
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"vary"] == b"User-Agent, Accept"
    assert fields[b"content-usage"].startswith(b"train-ai=n")
    assert (b"retry-after" in fields) is (action is Action.THROTTLE)
    assert (b"x-robots-tag", b"noai, noimageai, noarchive, noml") in response.headers


def test_every_refusing_action_has_a_status_that_is_a_client_error() -> None:
    assert set(TEMPLATES) == {action for action in Action if action.restricts}
    assert all(400 <= template.status < 500 for template in TEMPLATES.values())


@pytest.mark.parametrize(("action", "site"), list(product(REFUSING, (NO_FACTS, SITE))))
def test_the_page_is_a_whole_document_without_scripts_that_is_not_indexed(action: Action, site: Site) -> None:
    body = refusal(action, site=site, headers=HTML).body
    assert len(body) < 2048
    page = html5lib.HTMLParser(namespaceHTMLElements=False, strict=True).parse(body, transport_encoding="utf-8")
    assert page.get("lang") == "en"
    assert not list(page.iter("script"))
    assert "noindex" in page.find(".//meta[@name='robots']").get("content")
    links = [link.get("href") for link in page.iter("a")]
    assert links == (
        [SITE.contact, "https://band.example/.well-known/noai", SITE.licence] if site is SITE else ["/.well-known/noai"]
    )


@pytest.mark.parametrize("odd", ["<script>alert(1)</script>", "a\r\nSet-Cookie: x=1", "\ud800", "✓ 音楽", '"><b>'])
@pytest.mark.parametrize("headers", [TEXT, JSON, HTML], ids=["text", "json", "html"])
def test_any_text_in_a_policy_or_catalogue_can_be_sent(odd: str, headers: list[HeaderField]) -> None:
    agent = Agent(odd, odd, (Usage.TRAIN_AI,))
    site = Site(f"https://{odd}", odd, odd, f"https://{odd}", "/ai", f"https://{odd}", f"https://{odd}")
    for action in REFUSING:
        compiled = CompiledPolicy(replace(STANCE, site=site), Catalog((agent,)))
        verdict = Verdict(action, "r", agent, Usage.TRAIN_AI, Identity.UNVERIFIED, (), STANCE.whole_site, message=odd)
        response = compiled.refusal(verdict, "/", "GET", headers)
        for _, value in response.headers:
            assert value.isascii()
            assert b"\r" not in value
            assert b"\n" not in value
        assert headers is not HTML or b"<script" not in response.body
        assert headers is JSON or b"\r" not in response.body
