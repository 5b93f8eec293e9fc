"""How each refusing action answers, one module per action."""

from collections.abc import Mapping

from noai_guard.core.model import Action
from noai_guard.responses.actions import deny, license_required, throttle
from noai_guard.responses.actions.answer import Answer

ANSWERS: Mapping[Action, Answer] = {
    Action.THROTTLE: throttle.ANSWER,
    Action.LICENSE_REQUIRED: license_required.ANSWER,
    Action.DENY: deny.ANSWER,
}
