"""Is the guard well?"""

from ..panels import Board, Kind, Panel, Query, Row, Unit, counted, rate, series
from .shared import GOOD_IS_ZERO, RELOADS, REQUESTS, SITES, per_minute, total


def _judging(quantile: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le) ({rate(series('noai_judging_seconds_bucket'))}))"


def _in_force() -> str:
    return f"max by (job, instance, version, stance, mode, catalogue) ({series('noai_policy_info')}) == 1"


HEALTH = Board(
    "noai-health",
    "noai-guard: is the guard well?",
    "Policy in force, speed, and everything that can go wrong with the guard itself.",
    SITES,
    RELOADS,
    (
        Row(
            100,
            "Now",
            (
                Panel(
                    1,
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
                    2,
                    "Policy file",
                    "Whether the file on disk is what runs. One with a mistake is not used: the last good one stays.",
                    Kind.FIGURE,
                    Unit.STATE,
                    (Query(f"max({series('noai_reload_failed')})", "policy file"),),
                    6,
                    3,
                    words={"0": ("ok", "green"), "1": ("broken", "red")},
                ),
                Panel(
                    3,
                    "Failures of the guard",
                    "In the time shown. Should be 0: each has a traceback in the log. Visitors are answered even so.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(total(series("noai_guard_failures_total")), "failures"),),
                    6,
                    3,
                    steps=GOOD_IS_ZERO,
                ),
                Panel(
                    4,
                    "Agents known",
                    "Agents in the catalogue in force.",
                    Kind.FIGURE,
                    Unit.COUNT,
                    (Query(f"min({series('noai_catalogue_agents')})", "agents"),),
                    6,
                    3,
                ),
                Panel(
                    5,
                    "In force on each instance",
                    "Version, stance, mode and catalogue of each instance. Instances of one site should agree.",
                    Kind.TABLE,
                    Unit.STATE,
                    (Query(_in_force(), ""),),
                    24,
                    5,
                    columns={
                        "job": "Site",
                        "instance": "Instance",
                        "version": "Version",
                        "stance": "Stance",
                        "mode": "Mode",
                        "catalogue": "Catalogue",
                    },
                ),
            ),
        ),
        Row(
            101,
            "Work",
            (
                Panel(
                    10,
                    "Requests judged",
                    "Per second and instance. None while the site has visitors: they go around the guard.",
                    Kind.CURVES,
                    Unit.PER_SECOND,
                    (Query(f"sum by (instance) ({rate(series(REQUESTS))})", "{{instance}}"),),
                    8,
                ),
                Panel(
                    11,
                    "Time to judge a request",
                    "A sample of requests is timed. Includes the answer of a backend where the policy counts requests.",
                    Kind.CURVES,
                    Unit.SECONDS,
                    (
                        Query(_judging("0.5"), "half of them faster than"),
                        Query(_judging("0.99"), "99 % faster than"),
                    ),
                    8,
                    colours={"half of them faster than": "green", "99 % faster than": "orange"},
                ),
                Panel(
                    12,
                    "Metas put into HTML pages",
                    "What became of each HTML page: injected, or why not. Pages without rely on their headers.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("outcome", series("noai_html_injections_total")), "{{outcome}}"),),
                    8,
                    stacked=True,
                ),
            ),
        ),
        Row(
            102,
            "Trouble",
            (
                Panel(
                    20,
                    "Failures of the guard, by place",
                    "In judging, declaring, merging robots.txt, or noting (a decision log that cannot be written).",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("place", series("noai_guard_failures_total")), "{{place}}"),),
                    8,
                    at_least=10,
                ),
                Panel(
                    21,
                    "Backend did not answer",
                    "Questions without an answer in time; the policy's on_unknown then decides.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("question", series("noai_backend_failures_total")), "{{question}}"),),
                    8,
                    at_least=10,
                ),
                Panel(
                    22,
                    "Client address not believed",
                    "Requests whose client address could not be taken from the proxy's header, by reason.",
                    Kind.CURVES,
                    Unit.PER_MINUTE,
                    (Query(per_minute("problem", series("noai_client_address_problems_total")), "{{problem}}"),),
                    8,
                    at_least=10,
                ),
                Panel(
                    23,
                    "Policy reloads",
                    "Times the policy was read again in the time shown.",
                    Kind.BARS,
                    Unit.COUNT,
                    (Query(f"sum by (result) ({counted(series('noai_reloads_total'))})", "{{result}}"),),
                    8,
                    6,
                    colours={"ok": "green", "failed": "red"},
                ),
                Panel(
                    24,
                    "Cost of a scrape",
                    "How long Prometheus waits for the metrics.",
                    Kind.CURVES,
                    Unit.SECONDS,
                    (Query('scrape_duration_seconds{job=~"$job",instance=~"$instance"}', "{{instance}}"),),
                    8,
                    6,
                ),
                Panel(
                    25,
                    "Series",
                    "Time series of one scrape. Bounded by the catalogue and the policy, whatever visitors send.",
                    Kind.CURVES,
                    Unit.COUNT,
                    (Query('scrape_samples_scraped{job=~"$job",instance=~"$instance"}', "{{instance}}"),),
                    8,
                    6,
                ),
            ),
        ),
    ),
)
