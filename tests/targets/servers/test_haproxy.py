"""What HAProxy alone has: quoting, the expression that keeps most requests from Lua, HAProxy's own parser."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Agent, Usage
from noai_guard.errors import CannotExpress
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers.haproxy import quote, quote_format, suspects
from tests.servers import free_port
from tests.targets.conformance import ask
from tests.targets.strategies import NAMES, user_agents
from tests.targets.web_servers import program, readable_folder, running

CHARACTER = st.one_of(
    st.sampled_from("'\"\\$%[]{}#, ~!&<>()@;aé"),
    st.characters(categories=("L", "N", "P", "S"), max_codepoint=0x2FFF),
)
ARGUMENT = st.text(CHARACTER, min_size=1, max_size=30)


@settings(deadline=None, max_examples=4)
@given(st.lists(ARGUMENT, min_size=40, max_size=40))
def test_haproxy_reads_any_text_as_it_is(texts: list[str]) -> None:
    port = free_port()
    rules = [
        f"  http-request return content-type text/plain {kind} {quoted(text)} if {{ path /{kind}/{number} }}"
        for number, text in enumerate(texts)
        for kind, quoted in (("string", quote), ("lf-string", quote_format))
    ]
    with readable_folder() as folder:
        compiled = f"frontend f\n  mode http\n  timeout client 9s\n  bind 127.0.0.1:{port}\n"
        (folder / "c.cfg").write_text(compiled + "\n".join(rules) + "\n", encoding="utf-8")
        with running([program("haproxy"), "-db", "-f", str(folder / "c.cfg")], port, Path(folder)):
            for number, text in enumerate(texts):
                assert ask(port, f"/string/{number}", b"").body.decode() == text
                assert ask(port, f"/lf-string/{number}", b"").body.decode() == text


@pytest.mark.parametrize("text", ["a\nb", "a\0", "\x7f", "a\r\n  http-request deny"])
def test_what_cannot_stand_in_a_configuration_is_said(text: str) -> None:
    with pytest.raises(CannotExpress):
        quote(text)


def compiled(text: bytes, catalog: Catalog) -> CompiledPolicy:
    found, problems = check_policy_text(text)
    assert found is not None, problems
    return CompiledPolicy(found, catalog)


FRONTS = [
    compiled(text, load_catalog()) for text in (b"extends: no-ai", b"extends: no-ai\nusages: {unknown-bot: deny}")
]
EXPRESSIONS = [
    [re.compile(line.encode(), re.IGNORECASE) for line in suspects(TargetPlan(compiled))] for compiled in FRONTS
]


@settings(deadline=None, max_examples=400)
@given(user_agents(NAMES))
def test_whoever_is_refused_is_a_suspect_first(user_agent: bytes) -> None:
    for compiled, expressions in zip(FRONTS, EXPRESSIONS, strict=True):
        if compiled.guard.judged("/", user_agent).refuses:
            assert any(expression.search(user_agent) for expression in expressions)


def test_expressions_fit_into_lines_that_haproxy_reads_however_many_names_there_are() -> None:
    names = [f"x{number:x}y".translate(str.maketrans("0123456789", "ghijklmnop")) for number in range(6000)]
    many = Catalog(Agent(name, "", (Usage.TRAIN_AI,), (name,)) for name in names)
    found = suspects(TargetPlan(compiled(b"extends: no-ai", many)))
    assert 1 < len(found) < 10
    assert max(map(len, found)) < 16_000
    assert all(any(re.search(expression, name) for expression in found) for name in names[::97])


def test_where_everybody_may_be_refused_everybody_is_judged() -> None:
    assert not suspects(TargetPlan(compiled(b"extends: no-ai\nrules: [{id: closed, action: deny}]", load_catalog())))
