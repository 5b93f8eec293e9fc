"""How each refusing action answers, one module per action."""

from collections.abc import Mapping

from noai_guard.actions import deny, license_required, throttle
from noai_guard.actions.answer import Answer
from noai_guard.model import Action

ANSWERS: Mapping[Action, Answer] = {
    Action.THROTTLE: throttle.ANSWER,
    Action.LICENSE_REQUIRED: license_required.ANSWER,
    Action.DENY: deny.ANSWER,
}
