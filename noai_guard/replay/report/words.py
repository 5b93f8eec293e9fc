"""The words of a report that terminals and pages share."""

from noai_guard.replay.summary import Group, Summary

NOBODY = {"unknown-bot": "bots in no catalogue", "nameless": "clients without a name"}


def number(value: int) -> str:
    """Return a number with narrow groups of three digits."""
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")


def size(value: float) -> str:
    """Return a number of bytes in the unit that fits."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def who(group: Group) -> str:
    """Return the agent of a group, or what its clients are called who name none."""
    return group.agent or NOBODY.get(group.usage, "people, and clients without a name")


def works(value: int, summary: Summary) -> str:
    """Return a number of distinct works, if the policy names works."""
    if not summary.works_known:
        return "-"
    return f"{'≥ ' if summary.at_least and value else ''}{number(value)}"


def heading(summary: Summary) -> str:
    """Return the answer in one line."""
    share = 100 * summary.refused_requests / summary.requests if summary.requests else 0
    return f"{number(summary.refused_requests)} of {number(summary.requests)} requests would be refused ({share:.3g} %)"


def basis(summary: Summary) -> str:
    """Return what the answer stands on: policy, logs, days."""
    days = summary.period
    of = f", {days[0]} to {days[1]}" if days else ""
    logs = "1 log" if len(summary.logs) == 1 else f"{len(summary.logs)} logs"
    against = f", compared with {summary.against}" if summary.against else ""
    return f"Policy {summary.policy}{against}. {logs}{of}, {number(summary.lines)} lines, {size(summary.bytes)} sent."


TITLES = {
    "refused": "Who would be refused",
    "wronged": "Probably wronged",
    "differences": "What would be different",
    "spoofed": "Not who they say they are",
    "unclaimed": "Without a name, and many works",
    "logs": "What was read",
    "bad": "Lines that could not be read",
    "notes": "What these figures stand on",
}
"""Part of a report -> its title."""

EXPLANATIONS = {
    "wronged": "Refused clients that took little and behave like listeners: at least three of referers, parts of "
    "files, pages then audio, what pages are made of. Look at them before the policy is enforced.",
    "spoofed": "Their addresses are in none of the networks that the operator publishes.",
    "unclaimed": "Let in, because they name nobody. People rarely take so many works from one address.",
}

EMPTY = {
    "refused": "Nobody.",
    "wronged": "Nobody: no refused client behaves like a listener.",
    "differences": "Nothing: both policies treat every request alike.",
    "spoofed": "Nobody that could be told by the networks on this disk.",
    "unclaimed": "Nobody.",
}
