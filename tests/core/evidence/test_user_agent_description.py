import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noai_guard.core.evidence import user_agent_description


def test_a_browser_is_described() -> None:
    description = user_agent_description.describe(
        b"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
    )
    assert description is not None
    assert (description.browser, description.system, description.is_bot) == ("Firefox 140.0", "Windows 10", False)
    assert str(description) == "Firefox 140.0, Windows 10, PC, not a bot"


def test_a_bot_that_the_library_knows_is_a_bot() -> None:
    description = user_agent_description.describe(b"Mozilla/5.0 (compatible; SomeBot/1.0; +http://example.org/bot)")
    assert description is not None
    assert description.is_bot
    assert str(description) == "SomeBot 1.0, a bot"


def test_a_number_that_the_library_cannot_read_is_not_an_error() -> None:
    user_agent_description.describe(b"Mozilla/5.0 (Linux; Android " + b"1" * 5000 + b")")


def test_a_failure_of_the_library_is_no_description(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(user_agent: str) -> None:
        raise ValueError("Exceeds the limit for integer string conversion")

    monkeypatch.setattr("user_agents.parse", fails)
    assert user_agent_description.describe(b"a user agent that no other test describes") is None


@settings(max_examples=200)
@given(st.binary(max_size=800))
def test_no_bytes_make_the_description_fail(user_agent: bytes) -> None:
    user_agent_description.describe(user_agent)


def test_the_library_is_not_imported_before_it_is_needed() -> None:
    probe = (
        "import sys; from noai_guard.compiled import CompiledPolicy; from noai_guard import load_catalog, load_stance;"
        "compiled = CompiledPolicy(load_stance(), load_catalog()); compiled.guard.judged('/', b'UnknownBot/1.0');"
        "assert 'user_agents' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=60)
