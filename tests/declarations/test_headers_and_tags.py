"""Header fields and metas, read as the tools that honour them read them."""

import re
from dataclasses import replace

import html5lib
import http_sf
import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.model import Action, Usage
from noai_guard.core.policy import PathPolicy, Site
from noai_guard.declarations import STANDARDS
from tests.declarations.declaration_readers import datadiligence_skips, img2dataset_skips

CATALOG = load_catalog()
STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
SITE = Site(
    url="https://band.example", licence="https://band.example/licence", tdm_policy="https://band.example/tdm.json"
)


def declared(policy, section=0):
    return CompiledPolicy(policy, CATALOG).declared[section]


def values(policy, name, section=0):
    return [value.decode() for field, value in declared(policy, section).fields if field == name]


READERS_OF_LINES = [
    (["noai, noimageai"], True, True),
    (["noai, noimageai", "noarchive, noml"], True, True),
    (["NoAI"], True, False),
    (["noindex , noai"], True, True),
    (["noai", "googlebot: nosnippet"], True, True),
    (["googlebot: nosnippet, noai"], False, True),
    (["noai, max-image-preview:none"], False, True),
    (["unavailable_after: 1 Jan 2030 10:00:00 GMT, noai"], False, True),
    (["max-image-preview:none", "noimageai"], True, True),
    (["somebot: noai"], False, False),
    (["noarchive"], False, False),
]


@pytest.mark.parametrize(("lines", "img2dataset", "datadiligence"), READERS_OF_LINES)
def test_the_readers_behave_as_the_tools_are_documented_to(lines, img2dataset, datadiligence):
    assert img2dataset_skips(lines) is img2dataset
    assert datadiligence_skips(lines) is datadiligence


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_both_tools_that_honour_noai_skip_what_we_send(stance):
    lines = values(load_stance(stance), b"x-robots-tag")
    assert lines[0] == "noai, noimageai"
    assert not any(":" in line for line in lines)
    assert img2dataset_skips(lines)
    assert img2dataset_skips(lines, "spawningbot")
    assert datadiligence_skips(lines)


@pytest.mark.parametrize(("off", "lines"), [
    ([], ["noai, noimageai", "noarchive, noml"]), (["noarchive"], ["noai, noimageai", "noml"]),
    (["noml"], ["noai, noimageai", "noarchive"]), (["noarchive", "noml"], ["noai, noimageai"]),
])  # fmt: skip
def test_noarchive_and_noml_have_a_line_of_their_own_and_a_switch(off, lines):
    policy = replace(STANCE, declarations={**STANCE.declarations, **dict.fromkeys(off, False)})
    assert values(policy, b"x-robots-tag") == lines
    tags = declared(policy).tags.decode()
    assert re.findall('<meta name="robots" content="([^"]*)">', tags) == lines


@pytest.mark.parametrize(
    ("stance", "expected"),
    [
        ("no-ai", {"train-ai": "n", "ai-use": "n", "search": "y"}),
        ("no-training", {"train-ai": "n", "ai-use": "y", "search": "y"}),
        ("search-only", {"train-ai": "n", "ai-use": "n", "search": "y"}),
    ],
)
def test_content_usage_is_the_dictionary_that_aipref_means(stance, expected):
    (value,) = values(load_stance(stance), b"content-usage")
    parsed = http_sf.parse(value.encode(), tltype="dictionary")
    assert {label: str(item[0]) for label, item in parsed.items()} == expected
    assert all(item[1] == {} for item in parsed.values())


def test_a_licence_and_a_mining_policy_are_linked():
    policy = replace(STANCE, site=SITE)
    assert values(policy, b"link")[0] == '<https://band.example/licence>; rel="license"'
    assert values(policy, b"tdm-reservation") == ["1"]
    assert values(policy, b"tdm-policy") == ["https://band.example/tdm.json"]
    assert values(STANCE, b"tdm-policy") == []
    assert not any("/licence>" in link for link in values(STANCE, b"link"))


def test_a_section_that_reserves_nothing_says_nothing():
    policy = replace(STANCE, site=SITE, path_policies=(PathPolicy("/press/**", OPEN),))
    assert declared(policy, 1).fields == ()
    assert declared(policy, 1).tags == b""


def test_a_section_that_reserves_only_answers_does_not_reserve_mining():
    usages = {**OPEN, Usage.AI_INPUT: Action.DENY}
    policy = replace(STANCE, site=SITE, path_policies=(PathPolicy("/press/**", usages),))
    assert values(policy, b"tdm-reservation", 1) == ["0"]
    assert values(policy, b"tdm-policy", 1) == values(policy, b"x-robots-tag", 1) == []
    assert values(policy, b"content-usage", 1) == ["train-ai=y, ai-use=n, search=y"]


def test_the_metas_are_metas_to_a_parser_of_html():
    tags = declared(replace(STANCE, site=replace(SITE, tdm_policy="https://band.example/?a=1&copy=2"))).tags
    page = html5lib.parse(b"<!doctype html><html><head>" + tags + b"</head>", namespaceHTMLElements=False)
    assert [(meta.get("name"), meta.get("content")) for meta in page.find("head").findall("meta")] == [
        ("tdm-reservation", "1"),
        ("tdm-policy", "https://band.example/?a=1&copy=2"),
        ("robots", "noai, noimageai"),
        ("robots", "noarchive, noml"),
    ]


@pytest.mark.parametrize("odd", ["https://bänd.example/ä", 'https://x/"><script>', "https://x/\r\nSet-Cookie: a=b",
                                 "https://x/\ud800", "https://x/> rel=evil", "https://x/ a"])  # fmt: skip
def test_an_odd_address_stays_inside_its_line(odd):
    compiled = CompiledPolicy(
        replace(STANCE, site=Site(licence=odd, tdm_policy=odd, contact=odd, owner=odd, name=odd)), CATALOG
    )
    for name, value in compiled.declared[0].fields:
        assert value.isascii()
        assert not set(b"\r\n\0") & set(value)
        assert name != b"link" or (value.count(b"<"), value.count(b">")) == (1, 1)
    assert b"<script" not in compiled.declared[0].tags
    assert b"<script" not in compiled.documents["/.well-known/noai"].body


@pytest.mark.parametrize("standard", STANDARDS, ids=lambda standard: standard.key)
def test_a_standard_that_is_switched_off_says_nothing(standard):
    policy = replace(STANCE, site=SITE, declarations={**STANCE.declarations, standard.key: "off"})
    compiled = CompiledPolicy(policy, CATALOG)
    assert standard not in compiled.standards
    everything = b"\n".join(document.body for document in compiled.documents.values())
    for name, value in standard.header_fields(policy, policy.whole_site):
        assert (name, value) not in compiled.declared[0].fields
    for line in standard.robots_lines(policy):
        assert line.encode() not in everything
    for document in standard.documents(compiled.guard.table):
        assert document.path not in compiled.documents


def test_nothing_points_to_a_page_that_is_not_there():
    compiled = CompiledPolicy(replace(STANCE, declarations={**STANCE.declarations, "policy_page": False}), CATALOG)
    verdict = compiled.guard.judged("/", b"GPTBot/1.0")
    for accept in (b"*/*", b"text/html", b"application/json"):
        assert b"/.well-known/noai" not in compiled.refusal(verdict, "/", "GET", [(b"accept", accept)]).body
    assert b"/.well-known/noai" not in compiled.documents["/robots.txt"].body
