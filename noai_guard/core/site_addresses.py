"""Web addresses of a site for declarations, refusals and pages."""

from urllib.parse import quote, unquote, urlsplit

from noai_guard.core.policy import Policy, Site
from noai_guard.core.text import one_line

NOTICES = "notices"
"""Name of the part of the page for people that has the notices of the site."""


def policy_address(site: Site) -> str:
    """Return the address of the page that explains the policy; only a path if the site's address is not known."""
    page = site.policy_page
    return document_address(site, page) if page.startswith("/") else ascii_uri(page)


def page_address(policy: Policy) -> str:
    """Return `policy_address`, or an empty text if we would serve the page and the policy switches it off."""
    is_published = policy.declares("policy_page") or not policy.site.policy_page.startswith("/")
    return policy_address(policy.site) if is_published else ""


def notices_address(policy: Policy) -> str:
    """Return the address of the notices on our page; empty if there are none, or none on that page."""
    has_notices = bool(policy.notices) and policy.site.policy_page.startswith("/")
    return f"{page}#{NOTICES}" if has_notices and (page := page_address(policy)) else ""


def document_address(site: Site, path: str) -> str:
    """Return the address of one of our documents: below the site's address if that is known, else its path."""
    return ascii_uri(site.url.rstrip("/") + path)


def ascii_uri(text: str) -> str:
    """Return an address in ASCII that is safe in a header field, between `<>` and in quotes."""
    return quote(text, safe="%/:?#[]@!$&'()*+,;=~", errors="replace")


def contact_text(site: Site) -> str:
    """Return the site's contact for people to read: an e-mail address without `mailto:`, or a web address."""
    return one_line(unquote(site.contact.removeprefix("mailto:")))


def site_host(site: Site) -> str:
    """Return the host of a site, in lower case and without a port; empty if its address is not known."""
    return urlsplit(site.url).hostname or ""
