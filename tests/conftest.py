"""Fixtures of all tests, the hypothesis profiles, and more time for the longest tests."""

import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings

from noai_guard.errors import Unanswered
from tests.servers import server as server

LONGEST = (
    "targets/servers/test_running_servers.py",
    "targets/servers/test_hostile_requests.py",
    "gateway/proxies/test_gateway_down.py",
    "gateway/proxies/test_unanswered.py",
    "targets/test_hostile_texts.py",
    "gateway/proxies/test_nginx_sites.py",
    "clients/test_crawlers.py",
    "examples/test_many_hosts.py",
    "targets/servers/test_nginx.py",
    "monitoring/test_rules.py",
)
"""Files that take longest. They come first, so that no process waits at the end for another that has one of them."""

FULL = os.environ.get("NOAI_FULL") == "1"
SHARES = {"dev": 0.02, "ci": 0.2, "full": 1.0}
"""Share of a property test's examples that each hypothesis profile draws: tests write down what `full` draws."""
_FEWEST = 5

# A build draws the same examples as the one before, so that it fails by what changed; the other profiles draw new ones.
for profile in SHARES:
    settings.register_profile(profile, deadline=None, print_blob=True, derandomize=profile == "ci")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("full" if FULL else "ci"))

if FULL:
    os.environ.setdefault("PYTEST_TIMEOUT", "3600")


@pytest.fixture(autouse=True)
def no_questions_to_the_open_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks the machine's resolvers: whether 203.0.113.7 has a name is not for a test to depend on."""
    from noai_guard.stores import reverse_dns

    asking = reverse_dns.resolver

    def resolver(nameservers: Sequence[str] | None, port: int) -> reverse_dns.Resolve:
        if nameservers is None:
            raise Unanswered("tests ask servers of their own")
        return asking(nameservers, port)

    monkeypatch.setattr(reverse_dns, "resolver", resolver)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Scale the number of examples of a property test to the profile."""
    function: Any = getattr(item, "obj", None)
    share = SHARES.get(settings.get_current_profile_name(), 1.0)
    if not getattr(function, "is_hypothesis_test", False) or hasattr(function, "full_examples"):
        return
    # Hypothesis has no public way to change the settings of a decorated test; its own pytest plugin does the same.
    full = function._hypothesis_internal_use_settings
    function.__dict__["full_examples"] = full.max_examples
    examples = max(round(full.max_examples * share), min(full.max_examples, _FEWEST))
    function._hypothesis_internal_use_settings = settings(full, max_examples=examples)
