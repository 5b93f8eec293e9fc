"""Link: rel=license."""

from dataclasses import replace

from noai_guard.compiled import CompiledPolicy
from noai_guard.config import load_stance
from noai_guard.core.catalog import Catalog
from noai_guard.core.policy import Policy, Site

STANCE = load_stance("no-ai")


def links(policy: Policy) -> list[bytes]:
    return [value for name, value in CompiledPolicy(policy, Catalog(())).site_declared.fields if name == b"link"]


def test_a_licence_is_linked() -> None:
    policy = replace(STANCE, site=Site(licence="https://band.example/licence"))
    assert links(policy)[0] == b'<https://band.example/licence>; rel="license"'


def test_without_a_licence_there_is_no_link_to_one() -> None:
    assert not any(b"/licence>" in link for link in links(STANCE))
