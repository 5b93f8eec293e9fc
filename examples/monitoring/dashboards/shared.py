"""What several dashboards say: matchers, variables, annotations, sums."""

from noai_guard.core.model import AI_USAGES, Action, Mode, Usage

from ..panels import Choice, Mark, counted, rate, series

REQUESTS = "noai_requests_total"
BYTES = "noai_response_body_bytes_total"
ROBOTS = "noai_robots_ignored_total"

REFUSALS = "|".join(action for action in Action if action.restricts)
AI = "|".join(sorted(AI_USAGES))
WELCOME = "|".join(("none", Usage.SEARCH, Usage.ADS, Usage.PREVIEW, Usage.FEED, Usage.PLAYER, Usage.MONITORING))
"""Whom no stance refuses: clients that are nobody in the catalogue (`none`, which is what listeners are), search
engines, previews, feeds, players."""

BY_AI = f'usage=~"{AI}"'
NOT_AI = f'usage!~"{AI}"'
BY_WELCOME = f'usage=~"{WELCOME}",rule!~"unjudged|unreadable"'
REFUSED = f'mode="enforce",action=~"{REFUSALS}"'
UNREAD = 'rule=~"unreadable|unjudged"'
NAMED = 'agent!="none"'
SERVED = 'outcome="served"'
REFUSAL_BODIES = 'outcome="refused"'

GOOD_IS_ZERO = ((None, "green"), (1.0, "red"))
_COLOURS = {
    Action.ALLOW: "green",
    Action.LOG: "yellow",
    Action.THROTTLE: "purple",
    Action.LICENSE_REQUIRED: "blue",
    Action.DENY: "orange",
}
ANSWERS = {
    f"{action} ({mode})": colour if mode is Mode.ENFORCE else f"super-light-{colour}"
    for action, colour in _COLOURS.items()
    for mode in Mode
}
"""Colours by the legend `{{action}} ({{mode}})`."""

SITES = (
    Choice("job", "Site", "noai_policy_info", "job"),
    Choice("instance", "Instance", 'noai_policy_info{job=~"$job"}', "instance"),
)


def _reloads(result: str) -> str:
    matcher = f'result="{result}"'
    return f"sum by (instance) (increase({series('noai_reloads_total', matcher)}[$__rate_interval])) > 0"


RELOADS = (
    Mark("Policy reloaded", _reloads("ok"), "Policy reloaded on {{instance}}", "blue"),
    Mark("Reload failed", _reloads("failed"), "Reload failed on {{instance}}: the last good policy stays", "red"),
)


def per_minute(by: str, chosen: str) -> str:
    return f"60 * sum by ({by}) ({rate(chosen)})"


def total(chosen: str) -> str:
    return f"sum({counted(chosen)}) or vector(0)"
