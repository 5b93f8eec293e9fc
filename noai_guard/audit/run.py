"""One audit, from the address of a page to findings."""

from noai_guard.audit.checks import findings
from noai_guard.audit.finding import Finding
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.fetch import Fetcher
from noai_guard.audit.probe.result import CLIENTS
from noai_guard.audit.probe.survey import survey
from noai_guard.config import load_catalog, sample_user_agent
from noai_guard.core.web_addresses import is_inside

_TOTAL_TIMEOUT = 300
_MAX_REQUESTS = 80
"""More than an audit makes, redirects not counted."""


def audit(
    url: str,
    audio: str = "",
    *,
    impersonate: bool = True,
    delay: float = 0.2,
    timeout: float = 20,
    allow_private: bool = False,
) -> tuple[Interpretation, tuple[Finding, ...]]:
    """Request a page and what belongs to it, and return what it means and what is wrong with it.

    `audio` is the address of a recording; without it the first one that the page leads to is used. With `impersonate`
    the site is also requested under the names of browsers and crawlers. Requests are sent `delay` seconds apart, each
    with `timeout` seconds. With `allow_private`, or if `url` itself names such a host, the site and what it leads to
    may be on this machine or its own network. Raises survey.Unreachable.
    """
    clients = CLIENTS if impersonate else ()
    user_agents = {client.name: sample_user_agent(client.agent, client.source) for client in clients}
    total_timeout = _TOTAL_TIMEOUT + delay * _MAX_REQUESTS
    allow_private = allow_private or is_inside(url)
    with Fetcher(delay, timeout, total_timeout, allow_private) as fetcher:
        interpretation = Interpretation(survey(fetcher, url, audio, user_agents, allow_private), load_catalog())
    return interpretation, findings(interpretation)
