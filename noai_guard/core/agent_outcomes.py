"""The agents that a policy refuses, only asks, or logs: what every summary counts."""

from dataclasses import dataclass
from typing import Self

from noai_guard.core.decision_table import DecisionTable
from noai_guard.core.model import Action, Agent
from noai_guard.core.path_patterns import ELSEWHERE


@dataclass(frozen=True, slots=True)
class AgentOutcomes:
    """The agents of a catalogue by what they get of the whole site, whatever the mode.

    `refused` are recognised, nearly all by their user agent. `asked` are not: they have no user agent of their own, but
    a name in robots.txt, or are search engines that use pages for AI under the same user agent; declarations
    alone tell them no.
    `inseparable` are let in although they serve reserved usages too: their operators offer no way to opt out of these
    alone. `nameless` have neither a user agent nor a name in robots.txt.
    """

    refused: tuple[Agent, ...]
    asked: tuple[Agent, ...]
    inseparable: tuple[Agent, ...]
    nameless: tuple[Agent, ...]
    logged: tuple[Agent, ...]
    known: int

    @classmethod
    def of(cls, table: DecisionTable) -> Self:
        """Sort the agents of a catalogue, each list in the order of the catalogue."""
        whole_site = table.policy.whole_site
        path_class = table.path_class(ELSEWHERE)
        refused, asked, inseparable = list[Agent](), list[Agent](), list[Agent]()
        nameless, logged = list[Agent](), list[Agent]()
        for agent in table.catalog.agents:
            action = table.verdict(agent, path_class).action
            if action.restricts and agent.is_recognisable:
                refused.append(agent)
            elif action.restricts:
                (asked if agent.all_robots_tokens else nameless).append(agent)
            elif agent.opt_out and any(map(whole_site.reserves, agent.opt_out.usages)):
                (asked if agent.opt_out.by else inseparable).append(agent)
            elif action is Action.LOG:
                logged.append(agent)
        return cls(
            refused=tuple(refused),
            asked=tuple(asked),
            inseparable=tuple(inseparable),
            nameless=tuple(nameless),
            logged=tuple(logged),
            known=len(table.catalog.agents),
        )
