"""The audit's checks of robots.txt, for a file that is about to be published: nothing is requested."""

from collections.abc import Iterable

from noai_guard.audit.checks import findings
from noai_guard.audit.finding import Finding
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import Observations, ProbeResult, Resource
from noai_guard.core.catalog import Catalog
from noai_guard.core.model import Document, HeaderField


def robots_findings(
    robots: Document, fields: Iterable[HeaderField], catalog: Catalog, site_url: str = ""
) -> tuple[Finding, ...]:
    """Return what is wrong with a robots.txt beside pages that have these declaring header fields."""
    address = site_url.rstrip("/") or "https://this.site"
    headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in fields)
    page = ProbeResult(f"{address}/", f"{address}/", status=200, headers=(*headers, ("content-type", "text/html")))
    url = f"{address}{robots.path}"
    result = ProbeResult(url, url, status=200, headers=(("content-type", robots.media_type),), body=robots.body)
    return findings(Interpretation(Observations(Resource(page), result), catalog), robots_only=True)
