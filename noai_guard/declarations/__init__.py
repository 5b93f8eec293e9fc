"""Declarations of a site about the use of its content, one module per standard.

To add a standard, write a module with a `STANDARD`, and add it to `STANDARDS` and a page for it to docs/standards/.
"""

from noai_guard.declarations import (
    ai_txt,
    content_signal,
    content_usage,
    html_meta,
    licence_link,
    policy_page,
    robots_txt,
    rsl,
    tdmrep,
    trust_txt,
    x_robots_tag,
)
from noai_guard.declarations.shared.standard import Standard

STANDARDS: tuple[Standard, ...] = (
    robots_txt.STANDARD,
    x_robots_tag.STANDARD,
    content_usage.STANDARD,
    content_signal.STANDARD,
    content_signal.HEADER,
    tdmrep.STANDARD,
    html_meta.STANDARD,
    licence_link.STANDARD,
    rsl.STANDARD,
    ai_txt.STANDARD,
    trust_txt.STANDARD,
    policy_page.STANDARD,
)
"""In the order in which their header fields and tags are sent."""
