"""One policy prepared for serving."""

from dataclasses import replace

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance

STANCE = load_stance("no-ai")
CATALOG = load_catalog()


def test_a_merged_robots_txt_is_prepared_once() -> None:
    compiled = CompiledPolicy(STANCE, CATALOG)
    first, second = (compiled.merged_robots[b"User-agent: *\nDisallow: /a\n"] for _ in range(2))
    assert first is second


def test_a_refusal_is_prepared_once() -> None:
    compiled = CompiledPolicy(STANCE, CATALOG)
    verdict = compiled.guard.judged("/", b"GPTBot/1.0")
    other = compiled.refusal(verdict, "/other", "GET", [(b"accept", b"*/*")])
    assert compiled.refusal(verdict, "/", "GET", []) is other


def test_nothing_links_to_a_policy_page_that_is_not_published() -> None:
    compiled = CompiledPolicy(replace(STANCE, declarations={**STANCE.declarations, "policy_page": False}), CATALOG)
    verdict = compiled.guard.judged("/", b"GPTBot/1.0")
    for accept in (b"*/*", b"text/html", b"application/json"):
        assert b"/.well-known/noai" not in compiled.refusal(verdict, "/", "GET", [(b"accept", accept)]).body
    assert b"/.well-known/noai" not in compiled.documents["/robots.txt"].body
