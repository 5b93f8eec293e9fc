"""<meta name="robots" content="noai, noimageai"> for HTML pages; the page only, not the audio it links."""

from collections.abc import Sequence

from noai_guard.declarations.standard import Standard
from noai_guard.model import Usage
from noai_guard.policy import Policy, Section


def _tags(policy: Policy, section: Section) -> Sequence[bytes]:
    if not section.reserves(Usage.TRAIN_AI):
        return ()
    return (b'<meta name="robots" content="noai, noimageai">',)


STANDARD = Standard("html_meta", "meta robots noai", tags=_tags)
