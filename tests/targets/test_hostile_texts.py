"""Hostile names and texts of a policy stay literal in every server's configuration."""

from dataclasses import replace
from urllib.parse import quote as percent_encoded

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, Usage
from noai_guard.core.policy import Rule
from noai_guard.core.user_agent_matcher import token_problem
from noai_guard.core.uses import Notice, Use
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.target import Feature
from tests.targets.conformance import fetch, refusal
from tests.targets.web_servers import INSTALLED, SERVERS, SLOW, readable_folder, serving, target

HOSTILE = (
    '"', "'", "`", "\\", '\\"', "\\\\", '"; return 200; #', "' ; }", "{$HOME}", "{env.HOME}", "{{ 7 }}", "{", "}", "$", "$1",
    "${1}", "$host", "%{HTTP_HOST}", "%{HTTP_HOST}e", "%{reqenv:HOME}", "%%", "%h", "%[src]", "%1", "\\1", "#", "# x", '{"', '"}',
    "*/ x /*", "// x", "-- x", "]]", "]==]", '""" x """', "<<EOT", "EOT", "- a", ": b", "? c", "&a *a", "!!str", "|", ">",
    "{args.0}", "{args[0]}", "{http.request.host}", "\\{x\\}", "{noai_quote}", "é ü 日本 🎵", "\u2028x", "a\tb", "a ; b", "a,b",
    "true", "1e5", "007", "null", "~", "Infinity", "<script>", "&amp;", "(?i)x", "a|b", "[x]", "^x$", "x*", ".",
)  # fmt: skip

TEXT = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), min_size=2, max_size=4).map("".join),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
)
TOKEN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12).map(
    lambda text: f"Bot{text}x"
)


def hostile_policy(texts: list[str], tokens: list[str]) -> CompiledPolicy:
    """Return a policy with one rule and one agent for each text, which is the message of the rule."""
    agents = [
        Agent(f"Agent {number} {text}", f"Operator {text}", (Usage.SEARCH,), (f"Reader{number}x",))
        for number, text in enumerate(texts)
    ]
    rules = [
        Rule(f"rule-{number}", Action.DENY, frozenset({agent.name.lower()}), message=text)
        for number, (agent, text) in enumerate(zip(agents, texts, strict=True))
    ]
    usable = [
        token for token in dict.fromkeys(map(str.lower, tokens)) if token_problem(token) is None and "@" not in token
    ]
    agents += [Agent(f"Token {number}", "", (Usage.TRAIN_AI,), (token,)) for number, token in enumerate(usable)]
    policy = load_stance("no-ai")
    site = replace(policy.site, owner=texts[0], contact=f"mailto:{texts[-1]}", licence=f"https://x.example/{texts[-1]}",
                   policy_page="/a b {x} %& $1 'é/")  # fmt: skip
    uses = tuple(Use(text, text, trains_generative_models=False, licence=text) for text in texts)
    notices = tuple(Notice(text, text) for text in texts)
    hostile = replace(policy, rules=tuple(rules), site=site, uses=uses, notices=notices)
    return CompiledPolicy(hostile, Catalog(agents))


@pytest.mark.parametrize("key", SERVERS)
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    texts=st.lists(TEXT, min_size=20, max_size=40).map(lambda drawn: [*HOSTILE, *drawn]),
    tokens=st.lists(TOKEN, min_size=30, max_size=50),
)
def test_hostile_texts_are_sent_unchanged(key: str, origin_port: int, texts: list[str], tokens: list[str]) -> None:
    INSTALLED[key]()
    # Apache reads all groups of a .htaccess for each request: four small ones cost less than a large one.
    parts = 4 if key in SLOW else 1
    for part in range(parts):
        assert_sent_unchanged(key, origin_port, hostile_policy(texts[part::parts], tokens[part::parts]))


def assert_sent_unchanged(key: str, origin_port: int, compiled: CompiledPolicy) -> None:
    with readable_folder() as folder, serving(key, TargetPlan(compiled), folder, origin_port) as port:
        for agent in compiled.catalog.agents:
            user_agent = f"Mozilla/5.0 (compatible; {agent.expected_user_agent[0]})".encode()
            status, text = refusal(compiled, "/index.html", user_agent)
            if not status:
                continue  # a token that matches in no User-Agent, like `a+b`
            response = fetch(port, "/index.html", user_agent)
            assert (response.status, user_agent) == (status, user_agent)
            if Feature.BODIES in target(key).supports:
                assert response.body.decode() == text
        assert fetch(port, "/index.html", b"Mozilla/5.0").status == 200
        for path, document in compiled.documents.items():
            response = fetch(port, percent_encoded(path), b"Mozilla/5.0")
            if Feature.DOCUMENTS in target(key).supports:
                assert (response.status, response.body) == (200, document.body), path
