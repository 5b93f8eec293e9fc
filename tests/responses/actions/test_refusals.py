"""What a refused client reads."""

import json
from dataclasses import replace
from itertools import product

import html5lib
import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import UNKNOWN_BOT, Action, Agent, Identity, Usage, Verdict
from noai_guard.core.policy import PathPolicy, Site
from noai_guard.responses.actions import TEMPLATES

STANCE = load_stance("no-ai")
BOT = Agent("TrainBot", "Example Inc", (Usage.TRAIN_AI,), ("TrainBot",))
NOTHING_SAID = Site()
SITE = Site(
    "https://band.example/", "", "Band", "mailto:%C3%A4@b%C3%A4nd.example", licence="https://band.example/licence"
)
TEXT: list[tuple[bytes, bytes]] = []
JSON = [(b"accept", b"application/json")]
HTML = [(b"accept", b"text/html,*/*")]
REFUSING = (Action.DENY, Action.LICENSE_REQUIRED, Action.THROTTLE)


def refusal(action, agent=BOT, site=NOTHING_SAID, message="", headers=TEXT, retry=60, path_policies=()):
    compiled = CompiledPolicy(replace(STANCE, site=site, path_policies=path_policies), Catalog((BOT,)))
    usage = Usage.TRAIN_AI if agent is BOT else (Usage.UNKNOWN_BOT if agent else None)
    verdict = Verdict(action, "train-ai", agent, usage, Identity.UNVERIFIED, (), len(path_policies),
                      retry_after=retry if action is Action.THROTTLE else 0, message=message)  # fmt: skip
    return compiled.refusal(verdict, "/tracks/a", "GET", headers)


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
def test_one_sentence_says_who_what_and_by_which_rule(action, agent, sentence):
    assert refusal(action, agent).body.decode() == f"{sentence} Policy: /.well-known/noai\n"
    assert json.loads(refusal(action, agent, headers=JSON).body)["detail"] == sentence
    assert f"<p>{sentence}</p>" in refusal(action, agent, headers=HTML).body.decode()


@pytest.mark.parametrize("action", REFUSING)
def test_where_to_write_and_read_follows_when_the_site_says_it(action):
    said = refusal(action, site=SITE, message="Ask us first").body.decode()
    assert said.endswith(
        " (rule train-ai). Ask us first. Contact: ä@bänd.example Licence: https://band.example/licence "
        "Policy: https://band.example/.well-known/noai\n"
    )


@pytest.mark.parametrize(
    ("message", "said"), [("Why not ask?", "Why not ask? "), ("Ask. ", "Ask. "), ("a\r\nb", "a b. ")]
)
def test_a_message_is_one_sentence_on_one_line(message, said):
    assert f"(rule train-ai). {said}Policy:" in refusal(Action.DENY, message=message).body.decode()


def test_json_holds_the_facts():
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
def test_headers_come_in_order_and_are_true(action, status, headers):
    answer = refusal(action, headers=headers)
    names = [name for name, _ in answer.headers]
    fields = dict(answer.headers)
    assert answer.status == status
    assert names[:5] == [b"content-type", b"content-length", b"cache-control", b"vary", b"x-content-type-options"]
    assert fields[b"content-length"] == b"%d" % len(answer.body)
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"vary"] == b"User-Agent, Accept"
    assert fields[b"content-usage"].startswith(b"train-ai=n")
    assert (b"retry-after" in fields) is (action is Action.THROTTLE)
    assert (b"x-robots-tag", b"noai, noimageai") in answer.headers


def test_every_refusing_action_has_an_answer_that_is_no_success():
    assert set(TEMPLATES) == {action for action in Action if action.restricts}
    assert all(400 <= template.status < 500 for template in TEMPLATES.values())


def test_retry_after_is_at_least_a_second():
    assert dict(refusal(Action.THROTTLE, retry=0).headers)[b"retry-after"] == b"1"
    assert b" in 1 second (" in refusal(Action.THROTTLE, retry=1).body


def test_a_licence_is_linked_once_also_where_the_section_reserves_nothing():
    opened = (PathPolicy("/press/**", dict.fromkeys(Usage, Action.ALLOW)),)
    for sections in ((), opened):
        answer = refusal(Action.LICENSE_REQUIRED, site=SITE, path_policies=sections)
        assert answer.headers.count((b"link", b'<https://band.example/licence>; rel="license"')) == 1


@pytest.mark.parametrize(("action", "site"), list(product(REFUSING, (NOTHING_SAID, SITE))))
def test_the_page_is_a_whole_document_without_scripts_and_asks_not_to_be_indexed(action, site):
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
def test_whatever_a_policy_or_a_catalogue_holds_it_can_be_sent(odd, headers):
    agent = Agent(odd, odd, (Usage.TRAIN_AI,))
    site = Site(f"https://{odd}", odd, odd, f"https://{odd}", "/ai", f"https://{odd}", f"https://{odd}")
    for action in REFUSING:
        compiled = CompiledPolicy(replace(STANCE, site=site), Catalog((agent,)))
        verdict = Verdict(action, "r", agent, Usage.TRAIN_AI, Identity.UNVERIFIED, (), 0, message=odd)
        answer = compiled.refusal(verdict, "/", "GET", headers)
        for _, value in answer.headers:
            assert value.isascii()
            assert b"\r" not in value
            assert b"\n" not in value
        assert headers is not HTML or b"<script" not in answer.body
        assert headers is JSON or b"\r" not in answer.body
