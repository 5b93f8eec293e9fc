"""What `user-agents` makes of a client that no rule knows: browser, system, device, bot or not.

Never on the first look: importing it takes 230 to 490 ms and each new user agent about 1 ms, and it raises on
some input (a number of more than 4,300 digits), all measured 2026-11-23 with user-agents 2.2.0.
"""

from dataclasses import dataclass
from functools import lru_cache

MOST_BYTES = 512
"""How much of a user agent is described: its cost grows with the length, 130 ms at 10 KB."""


@dataclass(frozen=True, slots=True)
class UserAgentDescription:
    browser: str
    system: str
    device: str
    is_bot: bool

    def __str__(self) -> str:
        kind = "a bot" if self.is_bot else "not a bot"
        known = [part for part in (self.browser, self.system, self.device) if part not in ("", "Other", "Spider")]
        return ", ".join([*known, kind])


def describe(user_agent: bytes) -> UserAgentDescription | None:
    """A user agent -> what it seems to be, or None when the library fails on it."""
    return _described(user_agent[:MOST_BYTES])


@lru_cache(maxsize=2048)
def _described(user_agent: bytes) -> UserAgentDescription | None:
    from user_agents import parse

    try:
        seen = parse(user_agent.decode("latin-1"))
        return UserAgentDescription(
            browser=seen.get_browser().strip(),
            system=seen.get_os().strip(),
            device=seen.get_device().strip(),
            is_bot=bool(seen.is_bot),
        )
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError):
        return None
