"""429 Too Many Requests."""

from noai_guard.core.model import Action
from tests.responses.refusals import refusal


def test_retry_after_is_at_least_a_second() -> None:
    assert dict(refusal(Action.THROTTLE, retry_after=0).headers)[b"retry-after"] == b"1"
    assert b" in 1 second (" in refusal(Action.THROTTLE, retry_after=1).body
