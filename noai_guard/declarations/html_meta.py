"""<meta name="robots" content="noai, noimageai"> and the like for HTML pages; the page only, not the audio it links."""

from collections.abc import Sequence

from noai_guard.declarations.standard import Standard, robots_directives
from noai_guard.model import Usage
from noai_guard.policy import Policy, Section


def _tags(policy: Policy, section: Section) -> Sequence[bytes]:
    if not section.reserves(Usage.TRAIN_AI):
        return ()
    return tuple(f'<meta name="robots" content="{line}">'.encode("ascii") for line in robots_directives(policy))


STANDARD = Standard("html_meta", "meta robots noai", tags=_tags)
