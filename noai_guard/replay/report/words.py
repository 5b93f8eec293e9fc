"""The words of a report that terminals and pages share."""

from noai_guard.replay.summary import Group, Summary

NOBODY = {"unknown-bot": "bots in no catalogue", "nameless": "clients without a name"}


def number(value: int) -> str:
    """Return a number with narrow groups of three digits."""
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")


def counted(value: int, name: str) -> str:
    """Return a number of things, with their name in the singular or the plural."""
    return f"{number(value)} {name}{'' if value == 1 else 's'}"


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
    judged = summary.requests - summary.unjudged
    without = f"{counted(summary.unjudged, 'request')} could not be judged, because the log holds no user agents"
    if not judged:
        return without if summary.unjudged else "No request could be read"
    share = 100 * summary.refused_requests / judged
    refused = f"{number(summary.refused_requests)} of {counted(judged, 'request')} would be refused ({share:.3g} %)"
    return f"{refused}; {without}" if summary.unjudged else refused


def basis(summary: Summary) -> str:
    """Return what the answer stands on: policy, logs, days."""
    days = summary.period
    of = f", {' to '.join(dict.fromkeys(days))}" if days else ""
    logs, lines = counted(len(summary.logs), "log"), counted(summary.lines, "line")
    bad = f" ({number(summary.bad)} could not be read)" if summary.bad else ""
    against = f", compared with {summary.against}" if summary.against else ""
    by_headers = (
        f" {counted(summary.undecided, 'further request')} might be refused by header fields, which no log holds."
        if summary.undecided
        else ""
    )
    return f"Policy {summary.policy}{against}. {logs}{of}, {lines}{bad}, {size(summary.bytes)} sent.{by_headers}"


TITLES = {
    "refused": "Who would be refused",
    "wronged": "Probably wronged",
    "differences": "What would be different",
    "spoofed": "Not who they say they are",
    "unclaimed": "Without a name, and many works",
    "logs": "What was read",
    "bad": "Lines that could not be read",
    "notes": "What these figures stand on",
    "steps": "What to do next",
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
    "differences": "Nothing: both policies, in force, treat every request alike.",
    "spoofed": "Nobody that could be told by the networks on this disk; noai-guard refresh fetches them.",
    "unclaimed": "Nobody.",
}
