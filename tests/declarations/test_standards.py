"""Rules that hold for every standard."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_catalog, load_stance
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Site
from noai_guard.declarations import STANDARDS
from noai_guard.declarations.shared.standard import Standard

CATALOG = load_catalog()
STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
SITE = Site(
    url="https://band.example", licence="https://band.example/licence", tdm_policy="https://band.example/tdm.json"
)


def test_a_path_policy_that_reserves_nothing_declares_nothing() -> None:
    policy = replace(STANCE, site=SITE, path_policies=(PathPolicy("/press/**", OPEN),))
    declared = list(CompiledPolicy(policy, CATALOG).declared.values())[1]
    assert declared.fields == ()
    assert declared.tags == b""


def test_a_path_policy_that_reserves_only_ai_answers_does_not_reserve_mining() -> None:
    usages = {**OPEN, Usage.AI_INPUT: Action.DENY}
    policy = replace(STANCE, site=SITE, path_policies=(PathPolicy("/press/**", usages),))
    fields = dict(list(CompiledPolicy(policy, CATALOG).declared.values())[1].fields)
    assert fields[b"tdm-reservation"] == b"0"
    assert fields[b"content-usage"] == b"train-ai=y, ai-use=n, search=y"
    assert fields[b"x-robots-tag"] == b"noarchive"
    assert b"tdm-policy" not in fields


@pytest.mark.parametrize("odd", ['https://bänd.example/ä', 'https://x/"><script>', "https://x/\r\nSet-Cookie: a=b",
                                 "https://x/\ud800", "https://x/> rel=evil", "https://x/ a"])  # fmt: skip
def test_an_odd_address_stays_inside_its_line(odd: str) -> None:
    site = Site(licence=odd, tdm_policy=odd, contact=odd, owner=odd, name=odd)
    compiled = CompiledPolicy(replace(STANCE, site=site), CATALOG)
    for name, value in compiled.site_declared.fields:
        assert value.isascii()
        assert not set(b"\r\n\0") & set(value)
        assert name != b"link" or (value.count(b"<"), value.count(b">")) == (1, 1)
    assert b"<script" not in compiled.site_declared.tags
    assert b"<script" not in compiled.documents["/.well-known/noai"].body


@pytest.mark.parametrize("standard", STANDARDS, ids=lambda standard: standard.key)
def test_a_standard_that_is_switched_off_declares_nothing(standard: Standard) -> None:
    policy = replace(STANCE, site=SITE, declarations={**STANCE.declarations, standard.key: "off"})
    compiled = CompiledPolicy(policy, CATALOG)
    assert standard not in compiled.standards
    everything = b"\n".join(document.body for document in compiled.documents.values())
    for name, value in standard.header_fields(policy, policy.whole_site):
        assert (name, value) not in compiled.site_declared.fields
    for line in standard.robots_lines(policy):
        assert line.encode() not in everything
    for document in standard.documents(compiled.guard.table):
        assert document.path not in compiled.documents
