"""One operator or agent."""

from ..panels import Board, Choice, Kind, Panel, Query, Row, Unit, counted, rate, series
from .shared import ANSWERS, BYTES, NAMED, REFUSED, RELOADS, REQUESTS, ROBOTS, SERVED, SITES, per_minute, total

_CHOSEN = 'operator=~"$operator",agent=~"$agent"'
_CHOSEN_AGENT = 'agent=~"$agent"'

AGENT = Board(
    "noai-agent",
    "noai-guard: one operator or agent",
    "Everything the guard knows of one operator's agents: choose them at the top.",
    (
        *SITES,
        Choice("operator", "Operator", 'noai_requests_total{job=~"$job",agent!="none"}', "operator"),
        Choice(
            "agent",
            "Agent",
            'noai_requests_total{job=~"$job",operator=~"$operator",agent!="none"}',
            "agent",
            listed=True,
        ),
    ),
    RELOADS,
    (
        Row(
            100,
            "In short, for the time shown",
            (
                Panel(
                    1,
                    "Requests",
                    "All requests of the chosen agents.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series(REQUESTS, _CHOSEN)), "requests"),),
                    5,
                    4,
                ),
                Panel(
                    2,
                    "Refused",
                    "Those that got a refusal.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series(REQUESTS, _CHOSEN, REFUSED)), "refused"),),
                    5,
                    4,
                    steps=((None, "orange"),),
                ),
                Panel(
                    3,
                    "Share refused",
                    "Refused requests among all requests of the chosen agents.",
                    Kind.FIGURE,
                    Unit.SHARE,
                    (
                        Query(
                            f"(sum({counted(series(REQUESTS, _CHOSEN, REFUSED))}) or vector(0))"
                            f" / sum({counted(series(REQUESTS, _CHOSEN))})",
                            "share",
                        ),
                    ),
                    4,
                    4,
                ),
                Panel(
                    4,
                    "Content received",
                    "Bytes of pages and recordings sent to the chosen agents.",
                    Kind.FIGURE,
                    Unit.BYTES,
                    (Query(total(series(BYTES, _CHOSEN_AGENT, SERVED)), "content"),),
                    5,
                    4,
                ),
                Panel(
                    5,
                    "Read robots.txt, came anyway",
                    "Requests for reserved pages after the agent had read robots.txt.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series(ROBOTS, _CHOSEN_AGENT)), "requests"),),
                    5,
                    4,
                    steps=((None, "blue"), (1.0, "orange")),
                ),
            ),
        ),
        Row(
            101,
            "Over time",
            (
                Panel(
                    10,
                    "Requests per minute",
                    "By agent, refused or not.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("agent", series(REQUESTS, _CHOSEN, NAMED)), "{{agent}}"),),
                    8,
                    9,
                    stacked=True,
                ),
                Panel(
                    11,
                    "Answers",
                    "By decision and mode.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (
                        Query(
                            per_minute("action, mode", series(REQUESTS, _CHOSEN, NAMED)),
                            "{{action}} ({{mode}})",
                        ),
                    ),
                    8,
                    9,
                    stacked=True,
                    colours=ANSWERS,
                ),
                Panel(
                    12,
                    "Bytes sent",
                    "Content, and the refusals' own bytes.",
                    Kind.CURVES,
                    Unit.BYTES_PER_SECOND,
                    (Query(f"sum by (outcome) ({rate(series(BYTES, _CHOSEN_AGENT, NAMED))})", "{{outcome}}"),),
                    8,
                    9,
                    colours={"served": "green", "refused": "orange"},
                ),
            ),
        ),
        Row(
            102,
            "By which rule",
            (
                Panel(
                    20,
                    "Decisions in the time shown",
                    "Which rule of the policy decided what, for which use. Identity says how far the agent's claim to "
                    "be itself was checked.",
                    Kind.TABLE,
                    Unit.COUNT,
                    (
                        Query(
                            "sum by (agent, usage, rule, action, identity, mode) "
                            f"({counted(series(REQUESTS, _CHOSEN, NAMED))})",
                            "Requests",
                        ),
                    ),
                    24,
                    10,
                    columns={
                        "agent": "Agent",
                        "usage": "Use",
                        "rule": "Rule",
                        "action": "Decision",
                        "identity": "Identity",
                        "mode": "Mode",
                    },
                ),
            ),
        ),
    ),
)
