"""robots.txt without an app's own: parsers that others wrote read in it what the judge does."""

import re
from dataclasses import replace
from itertools import pairwise
from urllib.parse import quote
from urllib.robotparser import RobotFileParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from robots import RobotsParser

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, Agent, Identity, Usage
from noai_guard.core.policy import Exemptions, PathPolicy, Policy, Rule
from noai_guard.declarations import robots_patterns, robots_txt
from noai_guard.version import __version__
from tests.declarations.declaration_readers import SITE, ProtegoReader, google_allows, google_fork_allows

STANCES = ("no-ai", "no-training", "search-only")
PATHS = ("/", "/tracks/first/audio.mp3", "/tracks/first/audio.mp3?sig=1", "/press/", "/caf%C3%A9")
DOCUMENTS = ("/robots.txt", "/license.xml", "/.well-known/tdmrep.json", "/.well-known/noai")
NAME = re.compile(r"[A-Za-z_-]+")
CATALOG = load_catalog()


def compiled(policy: Policy, catalog: Catalog = CATALOG) -> CompiledPolicy:
    return CompiledPolicy(policy, catalog)


def robots(policy: Policy, catalog: Catalog = CATALOG) -> bytes:
    return compiled(policy, catalog).documents["/robots.txt"].body


def is_refused(policy: Policy, agent: Agent, path: str, catalog: Catalog = CATALOG) -> bool:
    plan = compiled(policy, catalog).guard.table
    verdict = plan.decide(agent, plan.path_class(path.partition("?")[0]))
    return verdict.action.refuses


def speakers(token: str) -> list[Agent]:
    """The agents that a name in robots.txt speaks for: those with it as product token, else all with it."""
    token = token.lower()
    own = [agent for agent in CATALOG.agents if (agent.rfc9309_product_token or "").lower() == token]
    return own or [agent for agent in CATALOG.agents if token in map(str.lower, agent.robots_txt_tokens)]


TOKENS = sorted({token for agent in CATALOG.agents for token in agent.all_robots_tokens}, key=str.lower)


@pytest.mark.parametrize("stance", STANCES)
def test_googles_parser_reads_for_every_name_what_the_judge_does(stance):
    policy = load_stance(stance)
    said = robots(policy)
    for token in filter(NAME.fullmatch, TOKENS):
        refused = all(is_refused_at_root(policy, agent) for agent in speakers(token))
        for path in PATHS[:3]:
            assert google_allows(said, token, path) is not refused, (token, path)


def is_refused_at_root(policy: Policy, agent: Agent) -> bool:
    strictest = max(policy.usages[usage].strictness for usage in agent.usages)
    return strictest >= Action.LICENSE_REQUIRED.strictness


@pytest.mark.parametrize("stance", STANCES)
def test_parsers_that_take_any_name_agree(stance):
    policy = load_stance(stance)
    said = robots(policy)
    protego = ProtegoReader(said)
    robotspy = RobotsParser.from_string(said.decode())
    standard_library = RobotFileParser()
    standard_library.parse(said.decode().splitlines())
    for token in TOKENS:
        refused = all(is_refused_at_root(policy, agent) for agent in speakers(token))
        for path in PATHS:
            assert protego.allows(token, path) is not refused, (token, path)
            assert standard_library.can_fetch(token, SITE + path) is not refused, (token, path)
        if NAME.fullmatch(token):
            assert robotspy.can_fetch(token, SITE + "/tracks/") is not refused, token


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_refused_crawler_may_read_why(path):
    said = robots(load_stance("no-ai"))
    standard_library = RobotFileParser()
    standard_library.parse(said.decode().splitlines())
    for name in ("GPTBot", "ClaudeBot", "Google-Extended"):
        assert google_allows(said, name, path)
        assert google_fork_allows(said, name, path)
        assert ProtegoReader(said).allows(name, path)
        assert standard_library.can_fetch(name, SITE + path)


@pytest.mark.parametrize("name", ["Googlebot", "Bingbot", "Applebot", "DuckDuckBot", "AdsBot-Google", "Baiduspider",
                                  "360Spider", "Twitterbot", "SomebodyElse", "AI", "GPT", "Spotify"])  # fmt: skip
def test_everybody_else_may_fetch_everything(name):
    said = robots(load_stance("no-ai"))
    for path in (*PATHS, *DOCUMENTS):
        assert google_allows(said, name, path) or name == "AI"
        assert ProtegoReader(said).allows(name, path)


@pytest.mark.parametrize("stance", STANCES)
def test_every_group_has_a_rule_and_the_lines_of_all_standards(stance):
    said = robots(load_stance(stance)).decode()
    groups = re.findall(r"(?:User-agent: .*\n)+((?:(?!User-agent).+\n)+)", said)
    assert len(groups) >= 2
    for lines in groups:
        assert re.search(r"^(Allow|Disallow): /", lines, re.MULTILINE)
        assert lines.count("Content-Usage: train-ai=n") == 1


def test_names_that_strict_parsers_cannot_read_are_listed():
    unreadable = compiled(load_stance("no-ai")).robots_groups.unreadable
    assert "AI2Bot" in unreadable
    assert "GPTBot" not in unreadable


@pytest.mark.parametrize("stance", STANCES)
def test_comments_say_the_stance_and_when_and_by_what_it_was_made(stance):
    dated = CompiledPolicy(load_stance(stance), CATALOG, "2026-11-23")
    for said in (dated.documents["/robots.txt"].body, dated.merged_robots[b"User-agent: *\nDisallow: /a\n"].body):
        comments = [line for line in said.decode().splitlines() if line.startswith("# ")]
        assert f"Stance: {stance}." in " ".join(comments)
        assert [line for line in comments if "2026-11-23" in line] == [
            f"# Generated 2026-11-23 by noai-guard {__version__}."
        ]


def test_files_of_different_days_differ_in_that_line_only():
    one, other = (
        CompiledPolicy(STANCE, SMALL, day).documents["/robots.txt"].body for day in ("2026-11-23", "2031-01-01")
    )
    assert one != other
    assert robots_txt.undated(one) == robots_txt.undated(other) == robots_txt.undated(robots(STANCE, SMALL))
    assert CompiledPolicy(STANCE, SMALL).documents == CompiledPolicy(STANCE, SMALL).documents


OPERATOR = "Example"
AGENTS = (
    Agent("TrainBot", OPERATOR, (Usage.TRAIN_AI,), ("TrainBot",), "TrainBot"),
    Agent("AnswerBot", OPERATOR, (Usage.AI_SEARCH,), ("AnswerBot",), "AnswerBot"),
    Agent("SearchBot", OPERATOR, (Usage.SEARCH,), ("SearchBot",), "SearchBot"),
    Agent("PreviewBot", OPERATOR, (Usage.PREVIEW,), ("PreviewBot",), "PreviewBot"),
)
SMALL = Catalog(AGENTS)
SEGMENTS = ("tracks", "press", "a", "a b", "café", "kit", "$x")
segments = st.sampled_from(SEGMENTS)
directories = st.lists(segments, min_size=0, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
expressible = st.one_of(
    directories.filter(lambda d: "$" not in d).map(lambda d: f"{d}/**"),
    directories.filter(lambda d: d and "$" not in d),
)
patterns = st.one_of(
    expressible,
    directories.map(lambda d: f"{d}/*"),
    directories.map(lambda d: f"{d}/**/kit"),
    st.sampled_from(["/tracks/*/kit", "/**/*.mp3", "/a?b", "/tr*", "/press**", "/a/*/**", "/**/kit/**", "/$x/**"]),
)
actions = st.sampled_from(list(Action))
usages = st.fixed_dictionaries(dict.fromkeys(Usage, actions))
STANCE = load_stance("no-ai")


@st.composite
def policies(draw: st.DrawFn, paths: st.SearchStrategy[str]) -> Policy:
    sections = draw(
        st.lists(st.builds(PathPolicy, paths, usages), max_size=4, unique_by=lambda section: section.pattern)
    )
    rules = draw(st.lists(st.tuples(actions, st.sampled_from([(), ("searchbot",), ("trainbot",)]),
                                    st.lists(paths, max_size=2, unique=True)), max_size=2))  # fmt: skip
    exempt = draw(st.lists(paths, max_size=1))
    return replace(
        STANCE,
        usages=draw(usages),
        path_policies=tuple(sections),
        rules=tuple(
            Rule(f"r{number}", action, frozenset(agents), paths=tuple(of))
            for number, (action, agents, of) in enumerate(rules)
        ),
        exemptions=Exemptions(tuple(exempt)),
    )


tried = directories.flatmap(lambda d: st.sampled_from([d or "/", f"{d}/", f"{d}/x", f"{d}/x/kit", f"{d}/y.mp3"]))


def requested(path: str) -> str:
    return quote(path, safe="/$")


@settings(max_examples=100, deadline=None)
@given(policies(expressible), st.lists(tried, min_size=1, max_size=6), st.sampled_from(["", "?", "?q=/a/b"]))
def test_paths_that_robots_txt_can_say_are_read_as_the_judge_decides(policy, paths, query):
    said = robots(policy, SMALL)
    protego = ProtegoReader(said)
    for agent in AGENTS:
        for path in paths:
            refused = is_refused(policy, agent, path, SMALL)
            assert google_allows(said, agent.name, requested(path) + query) is not refused, (said.decode(), path)
            assert protego.allows(agent.name, requested(path) + query) is not refused, (said.decode(), path)


@settings(max_examples=100, deadline=None)
@given(policies(patterns), st.lists(tried, min_size=1, max_size=6))
def test_a_crawler_that_is_let_in_is_never_told_more_than_the_policy_says(policy, paths):
    said = robots(policy, SMALL)
    in_general = robots_patterns.expressible(policy)
    for agent in AGENTS:
        if is_refused(in_general, agent, robots_patterns.ELSEWHERE, SMALL):
            continue
        for path in paths:
            if not is_refused(policy, agent, path, SMALL):
                assert google_allows(said, agent.name, requested(path)), (said.decode(), agent.name, path)


def test_what_cannot_be_said_is_listed_with_its_place():
    policy = replace(
        STANCE,
        path_policies=(PathPolicy("/tracks/*/stems", STANCE.usages), PathPolicy("/press/**", STANCE.usages)),
        rules=(Rule("kits", Action.DENY, paths=("/a?", "/b/**")),),
        exemptions=Exemptions(("/**/*.css",)),
    )
    assert robots_patterns.inexpressible(policy) == (
        ("/tracks/*/stems", "sections"), ("/a?", "rule kits"), ("/**/*.css", "exemptions")
    )  # fmt: skip


def test_rules_stand_from_the_longest_to_the_shortest_for_parsers_that_take_the_first():
    opened = {**STANCE.usages, Usage.TRAIN_AI: Action.ALLOW}
    policy = replace(
        STANCE, path_policies=(PathPolicy("/press/**", opened), PathPolicy("/press/internal/**", STANCE.usages))
    )
    said = robots(policy, SMALL).decode()
    group = said[said.index("User-agent: TrainBot") :].partition("\n\n")[0]
    documents = ("/robots.txt", "/license.xml", "/.well-known/")
    paths = [path for path in re.findall(r"^(?:Allow|Disallow): (.*)$", group, re.M) if not path.startswith(documents)]
    assert {"/press/", "/press/internal/", "/"} <= set(paths)
    assert all(len(one) >= len(next_one) for one, next_one in pairwise(paths))


def test_a_rule_against_those_who_only_use_a_name_is_not_told_to_its_owner():
    policy = replace(
        STANCE,
        rules=(Rule("fakes", Action.DENY, frozenset({"searchbot"}), identities=frozenset({Identity.UNVERIFIED})),),
    )
    assert google_allows(robots(policy, SMALL), "SearchBot", "/")


def test_a_client_without_a_documented_name_is_called_as_it_calls_itself():
    agents = (
        Agent("Crate", OPERATOR, (Usage.TRAIN_AI,), ("Crate/", "CrateFetcher", "^Crate 2")),
        Agent("Crate 9", OPERATOR, (Usage.TRAIN_AI,), ("//crate.example",)),
        Agent("Looks like a browser", OPERATOR, (Usage.TRAIN_AI,)),
        Agent("Cra", OPERATOR, (Usage.SEARCH,), ("Cra",)),
    )
    said = compiled(STANCE, Catalog(agents))
    body = said.documents["/robots.txt"].body
    assert not google_allows(body, "Crate", "/")
    assert not google_allows(body, "CrateFetcher", "/")
    assert google_allows(body, "Cra", "/")
    assert [agent.name for agent in said.robots_groups.nameless] == ["Crate 9", "Looks like a browser"]
    notes = "\n".join(said.limitations)
    assert "robots.txt has no name for Crate 9: refused, not told." in notes
    assert "Looks like a browser. Not told, not refused." in notes


def test_a_documented_name_counts_more_than_one_that_somebody_calls_himself():
    agents = (
        Agent("Good", OPERATOR, (Usage.SEARCH,), ("GoodBot",), "Same"),
        Agent("Bad", OPERATOR, (Usage.TRAIN_AI,), ("Same",)),
    )
    said = compiled(STANCE, Catalog(agents))
    assert google_allows(said.documents["/robots.txt"].body, "Same", "/")
    assert said.robots_groups.shared == (("Bad", "Same"),)


@pytest.mark.parametrize(("rules", "note"), [
    ((Rule("fakes", Action.DENY, identities=frozenset({Identity.UNVERIFIED})),), "rule fakes, which asks for an identity"),
    ((Rule("slow", Action.THROTTLE, frozenset({"searchbot"})),), "has no rates"),
])  # fmt: skip
def test_what_a_rule_says_that_robots_txt_cannot_is_noted(rules, note):
    assert note in "\n".join(compiled(replace(STANCE, rules=rules), SMALL).limitations)
    assert note not in "\n".join(compiled(STANCE, SMALL).limitations)
    off = replace(STANCE, rules=rules, declarations={**STANCE.declarations, "robots_txt": "off"})
    assert note not in "\n".join(compiled(off, SMALL).limitations)


def test_a_name_shared_with_a_crawler_that_is_let_in_is_not_refused():
    shared = (
        Agent("One", OPERATOR, (Usage.TRAIN_AI,), ("One",), robots_txt_tokens=("Shared",)),
        Agent("Two", OPERATOR, (Usage.SEARCH,), ("Two",), robots_txt_tokens=("Shared",)),
    )
    assert google_allows(robots(STANCE, Catalog(shared)), "Shared", "/")
    assert not google_allows(robots(STANCE, Catalog(shared[:1])), "Shared", "/")


@pytest.mark.parametrize("token", ["*", "Bad#Bot", "Bad\nDisallow: /", "Bad\u2028Bot", "Bädbot", "", " "])
def test_a_name_that_cannot_be_sent_is_left_out(token):
    odd = Agent("Odd", OPERATOR, (Usage.TRAIN_AI,), ("Odd",), token, (token,))
    said = robots(STANCE, Catalog((odd, *AGENTS)))
    assert google_allows(said, "Googlebot", "/")
    assert robots_txt.groups(compiled(STANCE, Catalog((odd,))).guard.table, (), (), ()).groups == ()


@pytest.mark.parametrize(
    "owner", ["Ünïted Ärtists ✓ 音楽", "Line\nDisallow: /", "\ud800", "a\u2028User-agent: *", "\0"]
)
def test_any_owner_can_be_named(owner):
    said = robots(replace(STANCE, site=replace(STANCE.site, owner=owner)), SMALL)
    assert google_allows(said, "Googlebot", "/")
    assert not google_allows(said, "TrainBot", "/")
    assert ProtegoReader(said).allows("Googlebot", "/")
