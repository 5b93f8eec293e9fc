"""trust.txt: published only if a policy turns it on."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy, Site
from noai_guard.declarations import trust_txt

STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
TURNED_ON = replace(STANCE, declarations={**STANCE.declarations, "trust_txt": True})


def attributes(policy: Policy) -> dict[str, str]:
    body = CompiledPolicy(policy, Catalog(())).documents["/trust.txt"].body
    return dict(line.split("=", 1) for line in body.decode().splitlines())


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_no_stance_publishes_it(stance: str) -> None:
    assert "/trust.txt" not in CompiledPolicy(load_stance(stance), Catalog(())).documents


def test_it_denies_training_if_any_part_of_the_site_does() -> None:
    assert attributes(TURNED_ON) == {"datatrainingallowed": "no"}
    assert attributes(replace(TURNED_ON, usages=OPEN)) == {"datatrainingallowed": "yes"}
    part = replace(TURNED_ON, usages=OPEN, path_policies=(PathPolicy("/a/**", STANCE.usages),))
    assert attributes(part)["datatrainingallowed"] == "no"


def test_only_an_open_part_of_a_reserved_site_is_a_limitation() -> None:
    for policy in (TURNED_ON, replace(TURNED_ON, usages=OPEN)):
        assert list(trust_txt.STANDARD.limitations(policy)) == []
    (limitation,) = trust_txt.STANDARD.limitations(replace(TURNED_ON, path_policies=(PathPolicy("/press/**", OPEN),)))
    assert "also for /press/**" in limitation


@pytest.mark.parametrize("contact", ["mailto:a@band.example", "https://band.example/\ndatatrainingallowed=yes"])
def test_the_contact_stays_on_its_line(contact: str) -> None:
    published = attributes(replace(TURNED_ON, site=Site(contact=contact)))
    assert published["datatrainingallowed"] == "no"
    assert published["contact"].startswith(contact[:10])
