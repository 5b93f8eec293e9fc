"""Who came, what they were told, what they got."""

from ..panels import Board, Kind, Panel, Query, Row, Unit, counted, rate, series
from .shared import (
    ANSWERS,
    BY_AI,
    BY_WELCOME,
    BYTES,
    GOOD_IS_ZERO,
    NOT_AI,
    REFUSAL_BODIES,
    REFUSED,
    RELOADS,
    REQUESTS,
    ROBOTS,
    SERVED,
    SITES,
    per_minute,
    total,
)


def _welcome_refused() -> str:
    refused = f"sum by (usage) ({rate(series(REQUESTS, BY_WELCOME, REFUSED))})"
    came = f"sum by (usage) ({rate(series(REQUESTS, BY_WELCOME))})"
    return _named(f"({refused} or 0 * {came}) / ({came} > 0)")


def _named(expr: str) -> str:
    """With people called so, instead of by the label of those who are in no catalogue."""
    return f'label_replace({expr}, "usage", "listeners and browsers", "usage", "none")'


def _kept_back() -> str:
    """What the refused would have taken, were their answers as large as the average that was served."""
    refused = f"sum({counted(series(REQUESTS, BY_AI, REFUSED))})"
    served = f"sum({counted(series(BYTES, SERVED))})"
    answered = f"(sum({counted(series(REQUESTS))}) - ({total(series(REQUESTS, REFUSED))}))"
    sent = f"sum({counted(series(BYTES, REFUSAL_BODIES))})"
    return f"clamp_min({refused} * {served} / {answered} - {sent}, 0) or vector(0)"


def _operators() -> str:
    return f"count(sum by (operator) ({counted(series(REQUESTS, BY_AI))}) > 0) or vector(0)"


def _alerts() -> str:
    firing = 'ALERTS{alertname=~"NoAI.+",alertstate="firing"}'
    return f"count(count by (alertname) ({firing})) or vector(0)"


def _let_in() -> str:
    return f"sum({counted(series(REQUESTS, BY_AI))}) - ({total(series(REQUESTS, BY_AI, REFUSED))}) or vector(0)"


OVERVIEW = Board(
    "noai-overview",
    "noai-guard: who came, and what they got",
    "AI operators that visited, what they were told, what they took, and whether any listener was wronged.",
    SITES,
    RELOADS,
    (
        Row(
            100,
            "In short, for the time shown",
            (
                Panel(
                    1,
                    "AI operators that came",
                    "Organisations whose AI crawlers or assistants sent at least one request.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(_operators(), "operators"),),
                    6,
                    3,
                ),
                Panel(
                    2,
                    "AI requests refused",
                    "Requests of AI agents that got a refusal instead of the page or the recording.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series(REQUESTS, BY_AI, REFUSED)), "refused"),),
                    6,
                    3,
                    steps=((None, "orange"),),
                ),
                Panel(
                    3,
                    "AI requests let in",
                    "Requests of AI agents that were answered: where the policy allows it, or while the guard only "
                    "monitors.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(_let_in(), "let in"),),
                    6,
                    3,
                ),
                Panel(
                    4,
                    "Kept back from AI (estimate)",
                    "Refused AI requests, times the size of an average answer in the same time, less what the "
                    "refusals weighed. What a scraper would really have taken is not known.",
                    Kind.FIGURE,
                    Unit.BYTES,
                    (Query(_kept_back(), "kept back"),),
                    6,
                    3,
                ),
                Panel(
                    5,
                    "Read robots.txt, came anyway",
                    "Requests for reserved pages by agents that had read in robots.txt that they should not.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series(ROBOTS)), "requests"),),
                    6,
                    3,
                    steps=((None, "blue"), (1.0, "orange")),
                ),
                Panel(
                    6,
                    "Listeners refused",
                    "Refused requests of listeners, players, search engines, previews, feeds and podcast apps. Should "
                    "be 0; if not, see the alert NoAIListenersRefused.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series(REQUESTS, BY_WELCOME, REFUSED)), "refused"),),
                    6,
                    3,
                    steps=GOOD_IS_ZERO,
                ),
                Panel(
                    7,
                    "The guard",
                    "Whether every instance answers Prometheus.",
                    Kind.FIGURE,
                    Unit.STATE,
                    (Query('min(up{job=~"$job",instance=~"$instance"})', "answers"),),
                    6,
                    3,
                    words={"1": ("up", "green"), "0": ("down", "red")},
                ),
                Panel(
                    8,
                    "Alerts now",
                    "Alerts of noai-guard that are firing. Each has a page in docs/runbooks.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(_alerts(), "firing"),),
                    6,
                    3,
                    steps=GOOD_IS_ZERO,
                ),
            ),
        ),
        Row(
            101,
            "Who came",
            (
                Panel(
                    10,
                    "AI operators: requests per minute",
                    "Requests of AI agents by the organisation that runs them, refused or not.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("operator", series(REQUESTS, BY_AI)), "{{operator}}"),),
                    10,
                    9,
                    stacked=True,
                ),
                Panel(
                    11,
                    "AI agents in the time shown",
                    "How often each asked, how often it was refused, and how much content it got.",
                    Kind.TABLE,
                    Unit.COUNT,
                    (
                        Query(f"sum by (operator, agent) ({counted(series(REQUESTS, BY_AI))})", "Requests"),
                        Query(f"sum by (agent) ({counted(series(REQUESTS, BY_AI, REFUSED))})", "Refused"),
                        Query(f"sum by (agent) ({counted(series(BYTES, BY_AI, SERVED))})", "Content received"),
                    ),
                    14,
                    9,
                    columns={"operator": "Operator", "agent": "Agent"},
                    units={"Content received": Unit.BYTES},
                ),
            ),
        ),
        Row(
            102,
            "What they were told, what they got",
            (
                Panel(
                    20,
                    "Answers to AI",
                    "Requests of AI agents by the decision: allow and log are answered, deny is 403, license_required "
                    "402, throttle 429. In monitor mode the decision is counted and the request answered.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("action, mode", series(REQUESTS, BY_AI)), "{{action}} ({{mode}})"),),
                    8,
                    stacked=True,
                    colours=ANSWERS,
                ),
                Panel(
                    21,
                    "Bytes sent",
                    "Bodies only. What AI agents received as content, what everybody else received, and what the "
                    "refusals themselves weighed.",
                    Kind.CURVES,
                    Unit.BYTES_PER_SECOND,
                    (
                        Query(f"sum({rate(series(BYTES, BY_AI, SERVED))})", "content to AI"),
                        Query(
                            f"sum({rate(series(BYTES, NOT_AI, SERVED))})",
                            "content to everybody else",
                        ),
                        Query(f"sum({rate(series(BYTES, REFUSAL_BODIES))})", "refusals"),
                    ),
                    8,
                    colours={"content to AI": "red", "content to everybody else": "green", "refusals": "orange"},
                ),
                Panel(
                    22,
                    "What AI came for",
                    "Requests of AI agents in the time shown, by the use they make of what they fetch.",
                    Kind.BARS,
                    Unit.COUNT,
                    (Query(f"sum by (usage) ({counted(series(REQUESTS, BY_AI))})", "{{usage}}"),),
                    8,
                ),
            ),
        ),
        Row(
            103,
            "Did we wrong a listener?",
            (
                Panel(
                    30,
                    "Welcome visitors: share refused",
                    "Should lie at 0 %. A rise is a mistake in the policy or the catalogue, or a rule that you meant.",
                    Kind.CURVES,
                    Unit.SHARE,
                    (Query(_welcome_refused(), "{{usage}}"),),
                    12,
                    at_least=0.1,
                ),
                Panel(
                    31,
                    "Welcome visitors: requests per minute",
                    "Listeners and browsers, search engines, previews, feeds, players. A fall while scrapers rise may "
                    "be listeners who were turned away.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(_named(per_minute("usage", series(REQUESTS, BY_WELCOME))), "{{usage}}"),),
                    12,
                    stacked=True,
                ),
            ),
        ),
        Row(
            104,
            "What we said, and who cared",
            (
                Panel(
                    40,
                    "Declarations read",
                    "How often each published statement was fetched in the time shown, by anybody.",
                    Kind.BARS,
                    Unit.COUNT,
                    (Query(f"sum by (document) ({counted(series('noai_documents_served_total'))})", "{{document}}"),),
                    12,
                    7,
                ),
                Panel(
                    41,
                    "Read robots.txt, then came anyway",
                    "Requests for reserved pages in the time shown, by agents that had read robots.txt before.",
                    Kind.BARS,
                    Unit.COUNT,
                    (Query(f"sum by (agent) ({counted(series(ROBOTS))})", "{{agent}}"),),
                    12,
                    7,
                    steps=((None, "orange"),),
                ),
            ),
        ),
    ),
)
