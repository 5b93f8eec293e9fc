"""Who is let in and only asked not to use works for AI: how each is asked."""

from collections.abc import Iterator
from dataclasses import dataclass

from noai_guard.core.catalog import Catalog
from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import (
    Agent,
    PathPolicy,
    Usage,
)
from noai_guard.core.path_patterns import ELSEWHERE
from noai_guard.core.policy import Policy


def bing_directive(path_policy: PathPolicy) -> str:
    """Return the robots directive for Bing: `noarchive`, `nocache`, or an empty text where nothing is reserved from it.

    `noarchive` keeps a page out of answers and of training. `nocache` leaves it in answers, and title and snippet in
    training. A page with both counts as `nocache` (Bing Webmaster Blog of 2023-09-22, read 2026-11).
    """
    if path_policy.reserves(Usage.AI_INPUT) or path_policy.reserves(Usage.AI_SEARCH):
        return "noarchive"
    return "nocache" if path_policy.reserves(Usage.TRAIN_AI) else ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What asks an agent that is let in, or that no request names, for something: a `form` of declaration, and the
    `value` there. Both are empty if the policy switches off what would ask it."""

    form: str = ""
    value: str = ""

    def __str__(self) -> str:
        token = " token" if self.form == "robots.txt" else ":"
        return f"{self.form}{token} {self.value}" if self.form else ""


def asked(policy: Policy, path_policy: PathPolicy, agent: Agent) -> Asked:
    """Return how an agent is asked on the paths of a path policy: by its opt-out, else by its name in robots.txt."""
    out = agent.opt_out
    if out and not out.by:
        return Asked()
    if out and out.by == "noarchive":
        forms = [form for key, form in _DIRECTIVE_FORMS.items() if policy.declares(key) and policy.declares(out.by)]
        directive = bing_directive(path_policy)
        return Asked(forms[0], directive) if forms and directive else Asked()
    token = out.by if out else (agent.all_robots_tokens or (agent.name,))[0]
    return Asked("robots.txt", token) if policy.declares("robots_txt") else Asked()


_DIRECTIVE_FORMS = {"x_robots_tag": "X-Robots-Tag", "html_meta": "meta robots"}


def opt_out_notes(policy: Policy, catalog: Catalog) -> Iterator[str]:
    """Yield a sentence for each agent whose usages are reserved, but can only be declared, not enforced."""
    table = DecisionTable(policy, catalog)
    path_class = table.path_class(ELSEWHERE)
    for agent in table.catalog.agents:
        is_let_in = not table.verdict(agent, path_class).action.restricts
        how = asked(policy, policy.whole_site, agent)
        if agent.robots_only and not is_let_in:
            declared = "declared" if how.form else _SWITCHED_OFF
            yield f"{agent.name} ({agent.operator}) exists only in robots.txt: {declared}, never enforced."
        if agent.opt_out and is_let_in and any(map(policy.whole_site.reserves, agent.opt_out.usages)):
            usages = ", ".join((*agent.usages, *agent.opt_out.usages))
            opt_out = "its operator offers no opt-out"
            if agent.opt_out.by:
                opt_out = f"the opt-out is {f'declared ({how})' if how.form else _SWITCHED_OFF}"
            yield (
                f"{agent.name} ({agent.operator}) serves {usages} under one user agent: it stays let in, {opt_out}."
                f"{_NOCACHE if how.value == 'nocache' else ''}"
            )


_NOCACHE = " Title and snippet may still be trained on; noarchive would forbid answers too."
_SWITCHED_OFF = "not declared, because the policy switches that off"
