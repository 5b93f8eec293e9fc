"""402 Payment Required."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Rule
from noai_guard.responses.actions.license_required import licence_links
from tests.responses.refusals import BOT, SITE, STANCE, refusal


def test_the_licence_is_linked_once_also_where_nothing_is_reserved() -> None:
    opened = (PathPolicy("/press/**", dict.fromkeys(Usage, Action.ALLOW)),)
    for path_policies in ((), opened):
        response = refusal(Action.LICENSE_REQUIRED, site=SITE, path_policies=path_policies)
        assert response.headers.count((b"link", b'<https://band.example/licence>; rel="license"')) == 1
        assert response.headers.count((b"link", RSL)) == 1


RSL = b'<https://band.example/license.xml>; rel="license"; type="application/rsl+xml"'


def test_it_leads_to_no_document_that_is_not_published_or_has_no_absolute_address() -> None:
    off = replace(STANCE, declarations={**STANCE.declarations, "rsl": False}, site=SITE)
    open_site = replace(STANCE, site=SITE, usages=dict.fromkeys(Usage, Action.ALLOW))
    for policy in (off, open_site, STANCE):
        assert not [value for _, value in licence_links(policy) if b"license.xml" in value]
    assert (b"link", RSL) in licence_links(replace(STANCE, site=SITE))


@pytest.mark.parametrize(
    ("usages", "rules", "expected"),
    [
        ({}, (), False),
        ({Usage.SEO: Action.LICENSE_REQUIRED}, (), True),
        ({}, (Rule("sold", Action.LICENSE_REQUIRED, agents=frozenset({"trainbot"})),), True),
        ({}, (Rule("denied", Action.DENY, agents=frozenset({"trainbot"})),), False),
    ],
)
def test_a_section_that_reserves_nothing_links_to_the_licence_if_a_402_can_come_there(
    usages: dict[Usage, Action], rules: tuple[Rule, ...], expected: bool
) -> None:
    opened = PathPolicy("/press/**", {**dict.fromkeys(Usage, Action.ALLOW), **usages})
    compiled = CompiledPolicy(replace(STANCE, site=SITE, path_policies=(opened,), rules=rules), Catalog((BOT,)))
    declared = compiled.declared[opened]
    assert (
        set(declared.fields) == {(b"link", b'<https://band.example/licence>; rel="license"'), (b"link", RSL)}
    ) is expected
    assert bool(declared.fields) is expected
    assert declared.tags == b""
