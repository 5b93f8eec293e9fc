"""Tags for the head of HTML pages, read by a parser of HTML."""

import re
from dataclasses import replace

import html5lib
import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.policy import Policy, Site
from tests.declarations.declaration_readers import child

STANCE = load_stance("no-ai")
SITE = Site(url="https://band.example", tdm_policy="https://band.example/?a=1&copy=2")


def tags(policy: Policy) -> bytes:
    return CompiledPolicy(policy, Catalog(())).site_declared.tags


@pytest.mark.parametrize(("off", "expected"), [
    ([], ["noai, noimageai, noarchive, noml"]), (["noarchive"], ["noai, noimageai, noml"]),
    (["noml"], ["noai, noimageai, noarchive"]), (["noarchive", "noml"], ["noai, noimageai"]),
])  # fmt: skip
def test_noarchive_and_noml_have_switches(off: list[str], expected: list[str]) -> None:
    policy = replace(STANCE, declarations={**STANCE.declarations, **dict.fromkeys(off, False)})
    assert re.findall('<meta name="robots" content="([^"]*)">', tags(policy).decode()) == expected


def test_a_parser_of_html_reads_the_metas() -> None:
    document = b"<!doctype html><html><head>" + tags(replace(STANCE, site=SITE)) + b"</head>"
    page = html5lib.parse(document, namespaceHTMLElements=False)
    assert [(meta.get("name"), meta.get("content")) for meta in child(page, "head").findall("meta")] == [
        ("tdm-reservation", "1"),
        ("tdm-policy", "https://band.example/?a=1&copy=2"),
        ("robots", "noai, noimageai, noarchive, noml"),
    ]


def test_the_switch_turns_off_the_tags_of_all_standards() -> None:
    assert tags(replace(STANCE, site=SITE, declarations={**STANCE.declarations, "html_meta": False})) == b""
