"""The table of docs/explanation/clients.md, and the same facts as seen by the site."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.clients.site import Asked, Site

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "clients.md"


NOTHING_SAID = ("",) * 5


def described() -> dict[str, tuple[str, ...]]:
    """Client -> the cells that are checked: user agent, robots.txt, ranges, policy, gets (the version is left out)."""
    rows = re.findall(r"^\| ([^|]+?) +\|(.+)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    cells = {client: [cell.strip() for cell in rest.split("|")] for client, rest in rows}
    return {
        client: tuple(row[1:]) for client, row in cells.items() if len(row) == 6 and client not in ("Client", "---")
    }


def seen(site: Site, asked: Sequence[Asked], user_agent: str) -> tuple[str, ...]:
    """The same cells by what a client asked for. `user_agent` stands, in backticks, when every request said it."""
    said = user_agent.strip("`")
    beside = [each for each in asked if not site.is_document(each)]
    verdicts = {site.verdict(each) for each in beside} or {site.front.guard.judged("/", asked[0].user_agent.encode())}
    refused = {each.status == 403 for each in beside}
    return (
        f"`{said}`" if said and all(said in each.user_agent for each in asked) else f"`{asked[0].user_agent}`",
        "read" if any(each.target == "/robots.txt" for each in asked) else "not read",
        "yes" if any(each.range for each in asked) else "no",
        ", ".join(sorted({f"`{verdict.rule.partition('@')[0]}`: {verdict.action}" for verdict in verdicts})),
        "asks for nothing" if not beside else _GETS[frozenset(refused)],
    )


_GETS = {
    frozenset({False}): "what it asks for",
    frozenset({True}): "403",
    frozenset({True, False}): "403 for a part",
}
