"""nginx: quoting of any text of a policy or a catalogue; ten thousand names load."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, Usage
from noai_guard.core.policy import Rule, Site
from noai_guard.errors import CannotExpress
from noai_guard.targets import TARGETS
from noai_guard.targets.nginx_language import quote
from noai_guard.targets.plan import TargetPlan
from tests.servers import free_port
from tests.targets.conformance import fetch, fetch_all, refusal
from tests.targets.web_servers import nginx_main, origin, program, readable_folder, running, serving

HOSTILE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40) | st.lists(
    st.sampled_from(['"', "'", "\\", "$", "${x}", "$uri", ";", "{", "}", "\n", "\r", "\t", "#", "%", " ", "a", "~", "é"]), min_size=1
).map("".join)  # fmt: skip


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(HOSTILE, min_size=30, max_size=60))
def test_any_quoted_text_is_literal_in_nginx(texts: list[str]) -> None:
    with readable_folder() as folder:
        port = free_port()
        locations = "".join(f"location = /{n} {{ return 200 {quote(text)}; }}\n" for n, text in enumerate(texts))
        dollar = 'geo $noai_dollar { default "$"; }'
        server = f"{dollar}\nserver {{ listen 127.0.0.1:{port}; {locations} }}"
        (folder / "nginx.conf").write_bytes(nginx_main(folder, server).encode())
        with running([program("nginx"), "-c", str(folder / "nginx.conf")], port, folder):
            requests = [(f"/{number}", b"x") for number in range(len(texts))]
            assert [response.body.decode() for _, response in fetch_all(port, requests)] == texts


def test_a_text_that_is_too_long_for_nginx_raises_an_error() -> None:
    with pytest.raises(CannotExpress):
        quote("a" * 5000)


HOSTILE_TEXT = '; } return 200 "x" $uri \\ \' # {'


def hostile_policy() -> CompiledPolicy:
    agents = (
        Agent(
            f"Bad {HOSTILE_TEXT}",
            f"Evil {HOSTILE_TEXT}",
            (Usage.TRAIN_AI,),
            ('Bad"Bot;', "Ba$d{Bot}", "default", "include", "~Bot"),
        ),
        Agent("Good", "Good", (Usage.SEARCH,), ("Goodbot",)),
    )
    site = Site(
        owner=HOSTILE_TEXT,
        contact="mailto:a@b.example",
        policy_page=f"/{HOSTILE_TEXT}",
        licence=f"https://x.example/{HOSTILE_TEXT}",
    )
    rule = Rule("nasty", Action.DENY, paths=("/a b/$uri;}/**",), agents=frozenset({"good"}), message=HOSTILE_TEXT)
    return CompiledPolicy(replace(load_stance("no-ai"), site=site, rules=(rule,)), Catalog(agents))


def test_hostile_names_and_texts_have_no_effect_on_the_configuration() -> None:
    compiled = hostile_policy()
    with readable_folder() as behind, readable_folder() as folder, origin(behind) as origin_port:
        requests = [("/index.html", b'Bad"Bot;'), ("/index.html", b"Ba$d{Bot}/1"), ("/index.html", b"default/1"),
                ("/index.html", b"include"), ("/index.html", b"~Bot"), ("/index.html", b"Goodbot"),
                ("/a%20b/%24uri%3B%7D/c", b"Goodbot")]  # fmt: skip
        with serving("nginx", TargetPlan(compiled), folder, origin_port) as port:
            responses = [(response.status, response.body.decode()) for _, response in fetch_all(port, requests)]
        judged = [refusal(compiled, "/a b/$uri;}/c" if "%" in path else path, agent) for path, agent in requests]
        assert [(0, "") if status == 200 else (status, text) for status, text in responses] == judged


def test_ten_thousand_names_load_and_refuse(tmp_path: Path) -> None:
    agents = tuple(Agent(f"Bot{n}x", "many", (Usage.TRAIN_AI,), (f"Bot{n}x",)) for n in range(10_000))
    with readable_folder() as behind, readable_folder() as folder, origin(behind) as origin_port:
        compiled = CompiledPolicy(load_stance("no-ai"), Catalog((*load_catalog().agents, *agents)))
        with serving("nginx", TargetPlan(compiled), folder, origin_port) as port:
            assert fetch(port, "/", b"bot9999x/2").status == 403
            assert fetch(port, "/", b"Bot10000x/2").status == 200
        assert "warn" not in (folder / "error.log").read_text()


def test_the_same_policy_gives_the_same_bytes() -> None:
    first, second = (
        TARGETS["nginx"].render(TargetPlan(CompiledPolicy(load_stance("no-ai"), load_catalog())), "/etc/nginx/conf.d")
        for _ in "ab"
    )
    assert first == second
    assert not re.search(
        rb"\b20\d\d-\d\d-\d\d\b", b"".join(file.content for file in first if "documents" not in file.path)
    )
