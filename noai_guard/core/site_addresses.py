"""Addresses of a site that stand in declarations, refusals and pages."""

from urllib.parse import quote, unquote

from noai_guard.core.policy import Policy, Site
from noai_guard.core.text import one_line


def policy_address(site: Site) -> str:
    """Where the policy is explained: a full address when the site's own is known, else a path; empty if nowhere."""
    page = site.policy_page
    return own_address(site, page) if page.startswith("/") else ascii_uri(page)


def page_address(policy: Policy) -> str:
    """As `policy_address`; empty where the page would be ours and the policy switches it off."""
    is_published = policy.declares("policy_page") or not policy.site.policy_page.startswith("/")
    return policy_address(policy.site) if is_published else ""


def own_address(site: Site, path: str) -> str:
    """Where one of our documents is: below the site's address where that is known, else its path."""
    return ascii_uri(site.url.rstrip("/") + path)


def ascii_uri(text: str) -> str:
    """An address as it may stand in a header field, between `<>` or in quotes, whatever the policy holds."""
    return quote(text, safe="%/:?#[]@!$&'()*+,;=~", errors="replace")


def contact_shown(site: Site) -> str:
    return one_line(unquote(site.contact.removeprefix("mailto:")))
