"""ai.txt: published only if a policy turns it on."""

from dataclasses import replace

import pytest

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Action, PathPolicy, Usage
from noai_guard.core.policy import Policy
from noai_guard.declarations import ai_txt
from tests.declarations.declaration_readers import SITE, ProtegoReader

STANCE = load_stance("no-ai")
OPEN = dict.fromkeys(Usage, Action.ALLOW)
TURNED_ON = replace(STANCE, declarations={**STANCE.declarations, "ai_txt": True})


def document(policy: Policy) -> str | None:
    published = CompiledPolicy(policy, Catalog(())).documents.get("/ai.txt")
    return published.body.decode() if published else None


@pytest.mark.parametrize("stance", ["no-ai", "no-training", "search-only"])
def test_no_stance_publishes_it(stance: str) -> None:
    assert document(load_stance(stance)) is None


def test_it_closes_every_path_to_a_parser_of_its_syntax() -> None:
    text = document(TURNED_ON)
    assert text is not None
    assert text.startswith("# Spawning AI\nUser-Agent: *\n")
    reader = ProtegoReader(text.encode())
    for path in ("/", "/tracks/1.flac", "/a.mp3?sig=1", "/page"):
        assert not reader.allows("AnyBot", path), SITE + path


def test_an_open_site_publishes_none_and_check_lists_the_reserved_path() -> None:
    tracks = (PathPolicy("/tracks/**", STANCE.usages),)
    assert document(replace(TURNED_ON, usages=OPEN, path_policies=tracks)) is None
    (limitation,) = ai_txt.STANDARD.limitations(replace(TURNED_ON, usages=OPEN, path_policies=tracks))
    assert "is not published" in limitation
    assert list(ai_txt.STANDARD.limitations(replace(TURNED_ON, path_policies=tracks))) == []


def test_check_lists_an_open_path_of_a_reserved_site() -> None:
    (limitation,) = ai_txt.STANDARD.limitations(replace(TURNED_ON, path_policies=(PathPolicy("/press/**", OPEN),)))
    assert "denies training on the whole site: only the other declarations express that /press/** differs" in limitation
