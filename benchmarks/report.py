"""Rows as text and as Markdown."""

from collections.abc import Mapping, Sequence

from benchmarks.measure import Bound, Row

TITLES = {
    "new": (
        "A new user agent",
        "The peer lower-cases the user agent and looks for the same tokens; it knows no word boundaries, no URLs, no "
        "escapes and no precedence, which are part of our time. No user agent comes twice.",
    ),
    "seen": (
        "A user agent that was seen before",
        "The same loop over a plain dict. A server makes new bytes for each request, whose hash is not known yet.",
    ),
    "networks": (
        "A client's address among networks",
        "Exempt addresses and trusted proxies.",
    ),
    "middleware": (
        "The whole middleware, in process",
        "A Starlette app with a route that answers five bytes; a browser's request with 11 headers.",
    ),
    "instructions": (
        "The whole middleware, in instructions",
        "Counted by callgrind, so that it holds on a busy machine. `python -m benchmarks.instructions` counts more.",
    ),
    "wsgi": (
        "The whole WSGI middleware, in process",
        "Bottle and Flask apps with a route that answers five bytes; a browser's request with 11 headers.",
    ),
    "throughput": (
        "Under uvicorn",
        "httptools and uvloop, one worker. By CPU time of the server. First one path at a time, for a browser and for "
        "an agent that is refused; an app that sends the same header lines and metas itself is the baseline, because "
        "the server needs time for each line. *uvicorn alone* sends the bytes of a refusal from an app that does "
        "nothing else: what no guard can surpass. Then a mix: HTML pages, JSON and audio; 85 % people, 10 % agents, "
        "half of them refused, 5 % clients never seen before.",
    ),
    "injection": (
        "Metas in HTML pages",
        "Against the same guard without html_meta, and against a bare ASGI app that only sends its chunks.",
    ),
    "start": ("From process start to the first verdict", "Fresh interpreters in turns; the verdict is a refusal."),
    "hostile": (
        "Hostile requests",
        "CPU time of the judge (user agents) or of the whole middleware (the rest), every request different and new to "
        "three judges, of which the fastest counts. Figure: the 99th percentile; spread: up to the slowest.",
    ),
    "telemetry": ("Metrics", "The statements with which a request is counted, against calls that count nothing."),
    "events": (
        "The event log",
        "CPU time of the request's thread, then of the thread that writes. Events of 500 clients, to a file.",
    ),
    "stores": (
        "A store that workers share",
        "A Starlette app with a route that answers five bytes, and a Valkey on the same machine. CPU time of all "
        "threads of the worker, without the server's.",
    ),
    "memory": ("Memory", "In a process of its own; half of the user agents are short enough to be remembered."),
    "proxy": (
        "noai-guard serve --upstream",
        "Against the ASGI server it runs on (uvicorn, h11, uvloop) with the same file on disk. All servers and the "
        "client share the machine's cores, and what a visitor waits decides, so figure and wall are the same.",
    ),
    "gateway": (
        "nginx that asks the gateway",
        "By the CPU time that nginx, the site and the gateway spend together for an answer, against the same nginx "
        "that asks nobody.",
    ),
    "edges": (
        "Servers with the compiled policy",
        "By CPU time of the server for a file of 1.2 KB, against the same server without it; medians of five turns. "
        "Names of 300 and of 10,000 made-up agents beside those of the packaged catalogue.",
    ),
    "peers": (
        "Beside ai.robots.txt",
        "By CPU time of the server for a file of 1.2 KB, against the same server without either; nginx with and "
        "without `pcre_jit`.",
    ),
    "classify": ("noai-guard classify", "Lines a second of CPU time, start of the program included."),
    "replay": (
        "noai-guard replay",
        "Lines a second by the clock, from the start of the program to the page, on two cores; ripgrep reads the same "
        "file on one. *Fastest* compares CPU time, as if both cores were always used.",
    ),
}


def as_text(row: Row) -> str:
    spread = "" if row.low is None and row.high is None else f" [{_number(row.low)} to {_number(row.high)}]"
    bound = "" if row.bound is None else f"  bound {_bound(row.bound)}: {'met' if row.met else 'MISSED'}"
    base = "" if row.base is None else f"{_number(row.base)} -> "
    return (
        f"  {row.what:62} {base}{_number(row.ours)} {row.unit}, {_number(row.figure)} {row.figure_unit}{spread}"
        f" fastest {_number(row.best)} wall {_number(row.wall)}{bound}"
    )


def as_markdown(measured: Mapping[str, Sequence[Row]], where: str, *, quick: bool) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` (`python -m benchmarks`) on {where}{', with --quick' if quick else ''}.",
        "",
        "Contenders run in turns in one process, or as processes in turns, and are compared turn by turn. *Figure* is",
        "the median of those comparisons by CPU time, *spread* their quartiles, *fastest* compares the fastest, *wall*",
        "is the median by wall time. The machine is shared: read ratios, not microseconds.",
    ]
    for name, rows in measured.items():
        title, explained = TITLES[name]
        lines += ["", f"## {title}", "", explained, ""]
        lines += ["| what | baseline | baseline | ours | figure | spread | fastest | wall | bound | met |"]
        lines += ["|---|---|--:|--:|--:|--:|--:|--:|--:|---|"]
        lines += [_line(row) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cells = (
        row.what,
        row.baseline,
        "" if row.base is None else f"{_number(row.base)} {row.unit}",
        f"{_number(row.ours)} {row.unit}",
        f"{_number(row.figure)} {row.figure_unit}",
        "" if row.low is None and row.high is None else f"{_number(row.low)} to {_number(row.high)}",
        _number(row.best),
        _number(row.wall),
        "" if row.bound is None else _bound(row.bound),
        {True: "yes", False: "**no**", None: ""}[row.met],
    )
    return f"| {' | '.join(cells)} |"


def _bound(bound: Bound) -> str:
    return f"{'<=' if bound.at_most else '>='} {_number(bound.limit)}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
