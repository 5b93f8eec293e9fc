"""What to do next about what a replay shows: sentences, each with what to type."""

import shlex
from collections.abc import Iterator

from noai_guard.core.text import printable
from noai_guard.replay.report.words import counted
from noai_guard.replay.summary import Summary

_MANY_BAD = 0.05


def steps(summary: Summary) -> Iterator[str]:
    """Yield what to do next, the most pressing first. What clients sent is escaped, for terminals and for shells."""
    if summary.bad > _MANY_BAD * summary.lines:
        yield (
            f"{counted(summary.bad, 'line')} of {counted(summary.lines, 'line')} could not be read: look at those that "
            "are shown. Another --log-format may fit."
        )
    if summary.unjudged:
        yield "Log user agents, and replay again in a week: nginx and Apache have a format combined that holds them."
    if summary.unchecked:
        yield "Fetch the networks by which claims are checked, and replay again: noai-guard refresh"
    if summary.wronged:
        first = summary.wronged[0]
        rule = f"rules: [{{agents: [{first.agent}], action: allow}}]"
        yield f"See why who is probably wronged is refused: noai-guard explain --ua {_quoted(first.user_agent)}"
        yield f"Let it in, if you wish to: {rule if first.agent else f'usages: {{{first.usage}: allow}}'}"
    if any(group.action in ("allow", "log") for group in summary.spoofed):
        yield "Refuse who is not who it says: identity: {spoofed: deny}"
    if summary.unclaimed:
        first = summary.unclaimed[0]
        network = _quoted(first.client)
        yield f"Find out whose network a client without a name has: whois {_quoted(first.client.partition('/')[0])}"
        yield (
            f"Refuse it, if no listeners are there: noai-guard agents add {_quoted(first.user_agent)} "
            f"--name SilentScraper --network {network}"
        )
    if summary.refused and summary.monitors:
        yield "If nobody is wronged, enforce: mode: enforce"
    elif summary.refused:
        yield "If nobody is wronged, put the policy in force: noai-guard config --help, or NoAIMiddleware in your app"


def _quoted(text: str) -> str:
    return shlex.quote(printable(text))
