"""The music site, a crowd and a real Prometheus: `python -m examples.monitoring` shows the figures filling.

With `--once` it ends by itself, with exit code 1 when a query of a dashboard or an alert found nothing.
"""

import argparse
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep, time
from typing import Any
from urllib.request import urlopen

from .crowd import Script
from .prometheus_process import Prometheus, installed, scraping
from .proof import Finding, Period, boards, findings, panels
from .site import Site, serving

_SCRIPT_SECONDS = 40.0
_VISITS_PER_SECOND = 12.0
_NO_PROMETHEUS = """{}/metrics/ is ready, but there is no Prometheus to read it.
Install it (Debian, Ubuntu: apt-get install prometheus) to see the dashboards' figures and the alerts.
The raw metrics, after the crowd:
"""


def play(site: Site, seconds: float, prometheus: Prometheus | None = None, say_every: float = 0.0) -> Period:
    """Lets the crowd come for `seconds`; says the figures every `say_every` seconds (0: never)."""
    begin, started, script = time(), monotonic(), Script(site, seconds)
    told = 0.0
    while (elapsed := monotonic() - started) < seconds:
        script.play(elapsed)
        if say_every and prometheus and elapsed - told >= say_every:
            told = elapsed
            _say_figures(prometheus, Period(begin, time()), elapsed)
        sleep(1 / _VISITS_PER_SECOND)
    sleep(2.5)  # the last visits are flushed within a second, and scraped within another
    return Period(begin, time())


def _say_figures(prometheus: Prometheus, period: Period, elapsed: float) -> None:
    overview = next(board for board in boards() if board["uid"] == "noai-overview")
    said = []
    for panel in panels(overview):
        if panel["type"] == "stat":
            found = prometheus.instant(period.filled_in(panel["targets"][0]["expr"]))
            shown = _shown(panel, float(found[0]["value"][1])) if found else "-"
            said.append(f"{panel['title']}: {shown}")
    print(f"{elapsed:4.0f} s  {'  ·  '.join(said)}", flush=True)
    firing = prometheus.firing()
    if firing:
        print(f"        alerts: {', '.join(firing)}", flush=True)


def _shown(panel: dict[str, Any], value: float) -> str:
    """A figure as the panel would show it, near enough."""
    settings = panel["fieldConfig"]["defaults"]
    for mapping in settings.get("mappings", ()):
        return str(mapping["options"].get(f"{value:.0f}", {}).get("text", value))
    return f"{value / 1e6:,.1f} MB" if settings["unit"] == "bytes" else f"{value:,.0f}"


def _say_findings(found: list[tuple[str, Finding]]) -> int:
    for where, finding in found:
        mark = "NOTHING" if finding.fails else f"{finding.found:>5} series" if finding.found else "    none"
        reason = f" ({finding.excuse})" if not finding.found and finding.excuse else ""
        print(f"{mark:<12}  {where}: {finding.where}{reason}")
        if finding.fails:
            print(f"              {finding.query}")
    failed = sum(finding.fails for _, finding in found)
    print(f"\n{len(found)} queries, {failed} without data.")
    return int(failed > 0)


def _say_raw_metrics(site: Site) -> None:
    with urlopen(f"{site.url}/metrics/", timeout=10) as response:
        for line in response.read().decode().splitlines():
            if line.startswith("noai_") and "_created" not in line and "_bucket" not in line:
                print(line)


def _port(chosen: int | None, usual: int) -> int:
    """The chosen port, else the usual one, or 0 (any) where that is taken."""
    if chosen is not None:
        return chosen
    try:
        with socket.create_server(("127.0.0.1", usual)):
            return usual
    except OSError:
        return 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m examples.monitoring", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end by itself, after proving every query")
    parser.add_argument(
        "--seconds", type=float, default=_SCRIPT_SECONDS, help="length of the script (%(default)s, at least 30)"
    )
    parser.add_argument("--port", type=int, help="the site's port (8000, if free; with --once any)")
    parser.add_argument("--prometheus-port", type=int, help="Prometheus's port (9090, if free; with --once any)")
    parser.add_argument("--prometheus", default=installed(), help="the program (%(default)s)")
    chosen = parser.parse_args(arguments)
    port = _port(chosen.port, 0 if chosen.once else 8000)
    prometheus_port = _port(chosen.prometheus_port, 0 if chosen.once else 9090)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="noai-monitoring-")))
        print("Starting the site (the first time it records its music, which takes a few seconds) ...", flush=True)
        site = stack.enter_context(serving(folder, port))
        if not (chosen.prometheus and Path(chosen.prometheus).is_file()):
            print(_NO_PROMETHEUS.format(site.url), flush=True)
            play(site, chosen.seconds)
            _say_raw_metrics(site)
            return int(chosen.once)
        prometheus = stack.enter_context(scraping(site.host, folder, chosen.prometheus, prometheus_port))
        print(f"The site is {site.url}, Prometheus {prometheus.url}, the policy {site.policy}.")
        print(f"The guard's own status page, without Grafana: {site.url}/noai-status/")
        print("In Grafana, import examples/monitoring/grafana/*.json. The figures, as they fill:\n", flush=True)
        period = play(site, chosen.seconds, prometheus, 5.0)
        print()
        failed = _say_findings(list(findings(prometheus, period)))
        if chosen.once:
            return failed
        print("\nThe crowd keeps coming until Ctrl-C.\n", flush=True)
        while True:
            play(site, 600.0, prometheus, 30.0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nBye.")
