"""Every case of tests/vectors/, which restates specifications and the behaviour of tools."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.robotparser import RobotFileParser

import html5lib
import pytest
from protego import Protego

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Site
from noai_guard.declarations.robots_txt import MAX_BYTES, merge
from noai_guard.declarations.shared.robots_file import AppRobots
from tests.declarations.declaration_readers import (
    SITE,
    RslReader,
    content_signals,
    datadiligence_skips,
    google_allows,
    google_fork_allows,
    img2dataset_skips,
    rsl_licences,
    rsl_problems,
    schema,
    signals_of_groups,
    tdmrep_precedence,
    tdmrep_reservation,
)

CATALOG = load_catalog()
COMPILED = CompiledPolicy(
    replace(
        load_stance("no-ai"),
        site=Site("https://example.com", owner="Band", contact="mailto:a@example.com"),
        path_policies=(PathPolicy("/free/**", {**load_stance("no-ai").usages, Usage.TRAIN_AI: Action.ALLOW}),),
    ),
    CATALOG,
)


def vectors(name: str) -> Any:
    return json.loads((Path(__file__).parent.parent / "vectors" / f"{name}.json").read_text(encoding="utf-8"))


def cases(name: str, key: str = "cases") -> pytest.MarkDecorator:
    values = vectors(name)[key]
    return pytest.mark.parametrize("case", values, ids=map(str, range(len(values))))


@cases("rfc9309")
def test_parsers_read_robots_txt_as_measured(case: dict[str, Any]) -> None:
    robots, agent, address = case["robots"], case["ua"], SITE + case["path"]
    assert google_allows(robots.encode(), agent, case["path"]) is case["google_robotstxt"]
    # The fork decodes %62 itself, as the specification asks; Google's own expects that of its caller.
    assert google_fork_allows(robots.encode(), agent, case["path"]) is case["allowed"]
    assert Protego.parse(robots).can_fetch(address, agent) is case["protego_0_7_0"]
    standard_library = RobotFileParser()
    standard_library.parse(robots.splitlines())
    assert standard_library.can_fetch(agent, address) is case["urllib_robotparser_py311"]


@cases("rfc9309")
def test_our_reading_of_an_apps_file_agrees_with_googles_parser(case: dict[str, Any]) -> None:
    app = AppRobots(case["robots"].removeprefix("\ufeff").splitlines())
    assert app.rules[case["ua"].lower()].allows(case["path"]) is case["google_robotstxt"]


@cases("rfc9309")
def test_merging_keeps_the_answer_for_an_untouched_crawler(case: dict[str, Any]) -> None:
    merged = merge(case["robots"].encode(), COMPILED.robots_groups)
    if case["ua"].lower() not in COMPILED.robots_groups.tokens:
        assert google_allows(merged, case["ua"], case["path"]) is case["google_robotstxt"]
    else:
        assert not google_allows(merged, case["ua"], case["path"])


def test_a_merged_file_is_no_longer_than_what_every_parser_must_read() -> None:
    assert vectors("rfc9309")["limits"]["min_parse_limit_bytes"] == MAX_BYTES


@cases("content_signals")
def test_signals_are_read_as_their_policy_says(case: dict[str, Any]) -> None:
    _, _, value = case["line"].partition(":")
    if case["parsed"] is not None:
        assert content_signals(value) == case["parsed"]
    robots = COMPILED.documents["/robots.txt"].body.decode()
    wrong = case["parsed"] in (None, {})
    assert not wrong or case["line"] not in robots


def test_only_keys_and_values_of_cloudflares_policy_are_sent() -> None:
    keys = vectors("content_signals")["keys"]
    groups = signals_of_groups(COMPILED.documents["/robots.txt"].body.decode())
    for (signals,) in groups:
        assert {"search", "ai-input", "use"} <= set(signals) <= set(keys)
        assert all(value in keys[key] for key, value in signals.items())


@cases("tdmrep")
def test_the_file_of_tdmrep_is_read_as_its_specification_says(case: dict[str, Any]) -> None:
    files = {file["name"]: file["json"] for file in vectors("tdmrep")["files"]}
    rules = case["inline"] if "inline" in case else files[case["file"]]
    reservation, policy = tdmrep_reservation(rules, case["path"])
    assert (reservation, policy) == (case["expected"]["reservation"], case["expected"]["policy"])


@cases("tdmrep", "precedence")
def test_of_several_forms_of_tdmrep_the_last_valid_one_counts(case: dict[str, Any]) -> None:
    assert tdmrep_precedence(case["file"], case["header"], case["meta"]) == case["result"]


@pytest.mark.parametrize(("number", "path"), [(0, "/a"), (1, "/free/a")])
def test_all_forms_of_tdmrep_agree(number: int, path: str) -> None:
    rules = json.loads(COMPILED.documents["/.well-known/tdmrep.json"].body)
    declared = COMPILED.declared[COMPILED.policy.all_path_policies[number]]
    header = dict(declared.fields)[b"tdm-reservation"].decode()
    page = html5lib.parse(b"<!doctype html><head>" + declared.tags, namespaceHTMLElements=False)
    (meta,) = [tag.get("content", "") for tag in page.iter("meta") if tag.get("name") == "tdm-reservation"]
    assert tdmrep_reservation(rules, path)[0] == int(header) == int(meta) == (0 if number else 1)


def test_headers_metas_and_policy_have_the_form_of_the_specification() -> None:
    specified = vectors("tdmrep")
    schema("tdm-policy").validate(specified["policy_example"])
    ours = json.loads(COMPILED.documents["/tdm-policy.json"].body)
    assert set(specified["policy_example"]) == set(ours)
    fields = [
        f"{name.decode()}: {value.decode()}"
        for name, value in COMPILED.site_declared.fields
        if name.startswith(b"tdm-")
    ]
    address = "https://provider.com/policies/policy.json"
    assert [line.replace("https://example.com/tdm-policy.json", address) for line in fields] == specified["headers"]
    for meta in specified["html"]:
        assert meta.replace(address, "https://example.com/tdm-policy.json") in COMPILED.site_declared.tags.decode()


@cases("rsl", "documents")
def test_documents_of_rsl_are_evaluated_as_its_specification_says(case: dict[str, Any]) -> None:
    if case["expect"] == "invalid":
        assert rsl_problems(case["xml"].encode())
        return
    assert rsl_problems(case["xml"].encode()) == []
    reader = RslReader(case["xml"].encode())
    for expected in case["expect"]:
        for usage, licensed in expected["usage"].items():
            assert reader.allows(expected["path"], usage) is licensed, usage


@cases("rsl", "robots")
def test_licences_are_found_in_robots_txt_as_rsl_says(case: dict[str, Any]) -> None:
    assert rsl_licences(case["robots"], case["ua"]) == ([case["license"]] if case["license"] else [])


def test_every_crawler_finds_our_licence_also_in_an_apps_file() -> None:
    merged = COMPILED.merged_robots[b"License: https://example.com/own.xml\nUser-agent: Bingbot\nDisallow: /a\n"].body
    for robots in (COMPILED.documents["/robots.txt"].body, merged):
        for agent in ("GPTBot", "Bingbot", "SomebodyElse"):
            assert rsl_licences(robots.decode(), agent) == ["https://example.com/license.xml"]


def test_links_to_the_licence_have_the_form_that_rsl_defines() -> None:
    specified = vectors("rsl")
    fields = [f"{name.decode().title()}: {value.decode()}" for name, value in COMPILED.site_declared.fields]
    assert specified["link_header"] in fields
    assert specified["html"].encode() in COMPILED.site_declared.tags


@cases("x_robots_noai")
def test_x_robots_tag_is_read_as_the_tools_read_it(case: dict[str, Any]) -> None:
    lines = case["x_robots_tag_lines"]
    assert img2dataset_skips(lines) is case["img2dataset_default_skips"]
    assert img2dataset_skips(lines, "spawningbot") is case["img2dataset_with_token_spawningbot_skips"]
    assert datadiligence_skips(lines) is case["datadiligence_spawningbot_blocks"]


def test_names_that_exist_in_robots_txt_only_are_known_and_closed() -> None:
    robots = COMPILED.documents["/robots.txt"].body
    for entry in vectors("robots_only_tokens")["tokens"]:
        agent = CATALOG.agent(entry["token"])
        assert agent is not None
        assert agent.robots_only
        assert agent.operator == entry["owner"]
        assert not google_allows(robots, entry["token"], "/a")


@pytest.mark.parametrize("token", vectors("robots_only_tokens")["ua_and_token"])
def test_names_that_are_user_agents_too_are_recognised_and_named_in_robots_txt(token: str) -> None:
    agent = CATALOG.find(f"Mozilla/5.0 (compatible; {token}/1.0)".encode())
    assert agent is not None
    assert token in agent.all_robots_tokens
    refused = COMPILED.guard.judged("/a", f"{token}/1.0".encode()).refuses
    assert google_allows(COMPILED.documents["/robots.txt"].body, token, "/a") is not refused


@pytest.mark.parametrize("token", vectors("robots_only_tokens")["ignore_star_group"])
def test_crawlers_that_ignore_the_group_for_all_keep_their_own(token: str) -> None:
    existing = f"User-agent: {token}\nDisallow: /ads/\n\nUser-agent: *\nDisallow: /x/\n".encode()
    for robots in (existing, merge(existing, COMPILED.robots_groups)):
        assert not google_allows(robots, token, "/ads/1")
        assert google_allows(robots, token, "/x/1")


def test_a_crawler_that_falls_back_to_the_group_of_another_finds_it_unchanged() -> None:
    for agent, other in vectors("robots_only_tokens")["fallback"].items():
        names = re.findall(r"^User-agent: (.*)$", COMPILED.documents["/robots.txt"].body.decode(), re.MULTILINE)
        assert not {agent, other} & set(names)
        existing = f"User-agent: {other}\nDisallow: /a\n".encode()
        merged = merge(existing, COMPILED.robots_groups)
        assert not google_allows(merged, other, "/a")
        assert f"User-agent: {agent}\n".encode() not in merged


def test_crawlers_that_ignore_robots_txt_are_marked_in_the_catalogue() -> None:
    for token in vectors("robots_only_tokens")["ignore_robots"]:
        agent = CATALOG.agent(token)
        assert agent is not None
        assert agent.rfc9309_compliance == "ignored"
