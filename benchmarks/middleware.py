"""The whole middleware in process, on a bare Starlette route."""

from collections.abc import Iterator

from benchmarks.measure import Effort, Row, interleaved, percent_added
from benchmarks.requests import answered, scope
from benchmarks.same_lines import starlette_same_lines
from benchmarks.sites import App, decision_log_on, empty_base_middleware, everything_on, guarded, starlette_bare
from benchmarks.visitors import unique

_BASELINE = "bare Starlette route"


def rows(effort: Effort) -> Iterator[Row]:
    apps: dict[str, App] = {
        "bare": starlette_bare(),
        "lines": starlette_same_lines(),
        "guarded": guarded(starlette_bare()),
        "empty": empty_base_middleware(starlette_bare()),
    }
    labels = {
        "lines": ("an app that sends the same lines itself", None),
        "guarded": ("guard", 25.0),
        "empty": ("an empty BaseHTTPMiddleware", None),
    }
    known = [scope("/text")]
    rotating = [scope("/text", user_agent) for user_agent in unique({"browsers": 1.0}, 300)]
    page = [scope("/")]
    for what, scopes in (("one user agent", known), ("300 user agents", rotating), ("an HTML page of 4 KB", page)):
        times = effort.of(1500 // len(scopes))
        timings = interleaved({name: answered(app, scopes, times) for name, app in apps.items()}, effort.rounds)
        for name, (label, bound) in labels.items():
            if scopes is page:
                bound = None
            yield percent_added(f"{label}, {what}", timings[name], timings["bare"], _BASELINE, bound)
    with decision_log_on():
        everything = everything_on(starlette_bare())
        contenders = {
            "bare": answered(apps["bare"], rotating, effort.of(5)),
            "everything": answered(everything, rotating, effort.of(5)),
        }
        timings = interleaved(contenders, effort.rounds)
    what = "guard, every feature on, 300 user agents"
    yield percent_added(what, timings["everything"], timings["bare"], _BASELINE)
