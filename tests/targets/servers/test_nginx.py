"""nginx: nothing that a policy or a catalogue holds gets out of its quotes; ten thousand names load."""

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
from noai_guard.targets.plan import TargetPlan
from noai_guard.targets.servers import nginx
from tests.servers import free_port
from tests.targets.conformance import ask, ask_all, refusal
from tests.targets.web_servers import edge, nginx_main, origin, program, readable_folder, running

HOSTILE = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40) | st.lists(
    st.sampled_from(['"', "'", "\\", "$", "${x}", "$uri", ";", "{", "}", "\n", "\r", "\t", "#", "%", " ", "a", "~", "é"]), min_size=1
).map("".join)  # fmt: skip


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(HOSTILE, min_size=30, max_size=60))
def test_any_text_means_itself_in_nginx(texts: list[str]) -> None:
    with readable_folder() as folder:
        port = free_port()
        places = "".join(f"location = /{n} {{ return 200 {nginx.quote(text)}; }}\n" for n, text in enumerate(texts))
        dollar = 'geo $noai_dollar { default "$"; }'
        server = f"{dollar}\nserver {{ listen 127.0.0.1:{port}; {places} }}"
        (folder / "nginx.conf").write_bytes(nginx_main(folder, server).encode())
        with running([program("nginx"), "-c", str(folder / "nginx.conf")], port, folder):
            asked = [(f"/{number}", b"x") for number in range(len(texts))]
            assert [answer.body.decode() for _, answer in ask_all(port, asked)] == texts


def test_a_text_that_nginx_cannot_read_is_said_and_not_written() -> None:
    with pytest.raises(CannotExpress):
        nginx.quote("a" * 5000)


NASTY = '; } return 200 "x" $uri \\ \' # {'


def nasty_front() -> CompiledPolicy:
    agents = (
        Agent(
            f"Bad {NASTY}", f"Evil {NASTY}", (Usage.TRAIN_AI,), ('Bad"Bot;', "Ba$d{Bot}", "default", "include", "~Bot")
        ),
        Agent("Good", "Good", (Usage.SEARCH,), ("Goodbot",)),
    )
    site = Site(
        owner=NASTY, contact="mailto:a@b.example", policy_page=f"/{NASTY}", licence=f"https://x.example/{NASTY}"
    )
    rule = Rule("nasty", Action.DENY, paths=("/a b/$uri;}/**",), agents=frozenset({"good"}), message=NASTY)
    return CompiledPolicy(replace(load_stance("no-ai"), site=site, rules=(rule,)), Catalog(agents))


def test_hostile_names_and_wishes_change_nothing_but_themselves() -> None:
    compiled = nasty_front()
    with readable_folder() as behind, readable_folder() as folder, origin(behind) as origin_port:
        asks = [("/index.html", b'Bad"Bot;'), ("/index.html", b"Ba$d{Bot}/1"), ("/index.html", b"default/1"),
                ("/index.html", b"include"), ("/index.html", b"~Bot"), ("/index.html", b"Goodbot"),
                ("/a%20b/%24uri%3B%7D/c", b"Goodbot")]  # fmt: skip
        with edge("nginx", compiled, folder, origin_port) as port:
            answers = [(answer.status, answer.body.decode()) for _, answer in ask_all(port, asks)]
        judged = [refusal(compiled, "/a b/$uri;}/c" if "%" in path else path, agent) for path, agent in asks]
        assert [found if found[0] != 200 else (0, "") for found in answers] == judged


def test_ten_thousand_names_load_and_refuse(tmp_path: Path) -> None:
    agents = tuple(Agent(f"Bot{n}x", "many", (Usage.TRAIN_AI,), (f"Bot{n}x",)) for n in range(10_000))
    with readable_folder() as behind, readable_folder() as folder, origin(behind) as origin_port:
        compiled = CompiledPolicy(load_stance("no-ai"), Catalog((*load_catalog().agents, *agents)))
        with edge("nginx", compiled, folder, origin_port) as port:
            assert ask(port, "/", b"bot9999x/2").status == 403
            assert ask(port, "/", b"Bot10000x/2").status == 200
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
