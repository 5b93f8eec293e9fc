"""402 Payment Required."""

from noai_guard.core.model import Action, PathPolicy, Usage
from tests.responses.refusals import SITE, refusal


def test_the_licence_is_linked_once_also_where_nothing_is_reserved() -> None:
    opened = (PathPolicy("/press/**", dict.fromkeys(Usage, Action.ALLOW)),)
    for path_policies in ((), opened):
        response = refusal(Action.LICENSE_REQUIRED, site=SITE, path_policies=path_policies)
        assert response.headers.count((b"link", b'<https://band.example/licence>; rel="license"')) == 1
