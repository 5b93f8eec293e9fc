"""HAProxy: quoting, and the expression that keeps most requests from Lua."""

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
from noai_guard.targets.servers.haproxy import TARGET, quote, quote_format
from tests.servers import free_port
from tests.targets.conformance import fetch
from tests.targets.web_servers import program, readable_folder, running

CHARACTER = st.one_of(
    st.sampled_from("'\"\\$%[]{}#, ~!&<>()@;aé"),
    st.characters(categories=("L", "N", "P", "S"), max_codepoint=0x2FFF),
)
ARGUMENT = st.text(CHARACTER, min_size=1, max_size=30)


@settings(deadline=None, max_examples=4)
@given(st.lists(ARGUMENT, min_size=40, max_size=40))
def test_any_quoted_text_is_literal_in_haproxy(texts: list[str]) -> None:
    port = free_port()
    rules = [
        f"  http-request return content-type text/plain {kind} {quoted(text)} if {{ path /{kind}/{number} }}"
        for number, text in enumerate(texts)
        for kind, quoted in (("string", quote), ("lf-string", quote_format))
    ]
    with readable_folder() as folder:
        frontend = f"frontend f\n  mode http\n  timeout client 9s\n  bind 127.0.0.1:{port}\n"
        (folder / "c.cfg").write_text(frontend + "\n".join(rules) + "\n", encoding="utf-8")
        with running([program("haproxy"), "-db", "-f", str(folder / "c.cfg")], port, Path(folder)):
            for number, text in enumerate(texts):
                assert fetch(port, f"/string/{number}", b"").body.decode() == text
                assert fetch(port, f"/lf-string/{number}", b"").body.decode() == text


@pytest.mark.parametrize("text", ["a\nb", "a\0", "\x7f", "a\r\n  http-request deny"])
def test_a_text_that_no_configuration_can_contain_raises_an_error(text: str) -> None:
    with pytest.raises(CannotExpress):
        quote(text)


def compiled_policy(text: bytes, catalog: Catalog) -> CompiledPolicy:
    policy, problems = check_policy_text(text)
    assert policy is not None, problems
    return CompiledPolicy(policy, catalog)


def looks(text: bytes, catalog: Catalog) -> list[str]:
    """Return the lines of suspects.map."""
    files = {
        file.path: file.content.decode() for file in TARGET.render(TargetPlan(compiled_policy(text, catalog)), "/")
    }
    return files.get("noai-guard/suspects.map", "").splitlines()


def test_expressions_fit_into_the_buffer_of_haproxy_for_any_number_of_names() -> None:
    names = [f"x{number:x}y".translate(str.maketrans("0123456789", "ghijklmnop")) for number in range(6000)]
    many = Catalog(Agent(name, "", (Usage.TRAIN_AI,), (name,)) for name in names)
    lines = looks(b"extends: no-ai", many)
    assert 1 < len(lines) < 10
    assert max(map(len, lines)) < 16_000
    assert all(first_match(lines, name) == "suspect" for name in names[::97])
    assert first_match(lines, "Mozilla/5.0 (X11; Linux x86_64; rv:154.0) Gecko/20100101 Firefox/154.0") == "harmless"


def first_match(lines: list[str], user_agent: str) -> str:
    """Return what a map says of a User-Agent: the value of the first line that matches."""
    rows = (line.split(" ") for line in lines)
    return next(value for pattern, value in rows if re.search(re.sub(r"\$(?=\)|$)", r"\\Z", pattern), user_agent))


def test_an_expression_and_its_value_are_two_words_in_a_map() -> None:
    lines = looks(b"extends: search-only\nusages: {unknown-bot: deny}", load_catalog())
    assert {line.split()[1] for line in lines} == {"harmless", "suspect"}
    assert all(len(line.split()) == 2 for line in lines)
    assert first_match(lines, "GPTBot/1.2") == first_match(lines, "Mozilla/5.0 (compatible; NewBot/1.0)") == "suspect"
    assert first_match(lines, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)") == "harmless"


def test_if_everybody_may_be_refused_every_client_is_judged() -> None:
    assert looks(b"extends: no-ai", load_catalog())
    assert not looks(b"extends: no-ai\nrules: [{id: closed, action: deny}]", load_catalog())


@pytest.mark.parametrize("name", ["plain", "a folder, of 'mine'", 'with "quotes" (and)'])
def test_any_folder_can_hold_the_files(name: str) -> None:
    port = free_port()
    with readable_folder() as folder:
        root = folder / name
        for file in TARGET.render(TargetPlan(compiled_policy(b"extends: no-ai", load_catalog())), str(root)):
            path = root / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        rules = (root / "noai-guard/frontend.cfg").read_text()
        (folder / "c.cfg").write_text(
            f"global\n  lua-load-per-thread {quote(str(root / 'noai-guard/guard.lua'))}\n"
            f"frontend f\n  mode http\n  timeout client 9s\n  bind 127.0.0.1:{port}\n{rules}"
            '  http-request return content-type text/plain lf-string "%[req.hdr(x-noai-verdict)]"\n'
        )
        with running([program("haproxy"), "-db", "-f", str(folder / "c.cfg")], port, Path(folder)):
            assert fetch(port, "/", b"GPTBot/1.2").status == 403
            assert fetch(port, "/", b"Mozilla/5.0 (X11; Linux x86_64)").body == b"allow"
