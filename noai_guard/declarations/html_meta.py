"""<meta name="robots" content="noai, noimageai"> for HTML pages; it covers the page, not the audio that it links to."""

from collections.abc import Sequence

from noai_guard.core.model import PathPolicy
from noai_guard.core.policy import Policy
from noai_guard.declarations.shared.standard import Standard, robots_directives


def _tags(policy: Policy, path_policy: PathPolicy) -> Sequence[bytes]:
    lines = robots_directives(policy, path_policy)
    return [f'<meta name="robots" content="{line}">'.encode("ascii") for line in lines]


STANDARD = Standard("html_meta", "meta robots noai", tags=_tags)
