"""Refusals of the actions that restrict a client, one module per action."""

from collections.abc import Mapping

from noai_guard.core.model import Action
from noai_guard.responses.actions import deny, license_required, throttle
from noai_guard.responses.refusal import RefusalTemplate

TEMPLATES: Mapping[Action, RefusalTemplate] = {
    Action.THROTTLE: throttle.TEMPLATE,
    Action.LICENSE_REQUIRED: license_required.TEMPLATE,
    Action.DENY: deny.TEMPLATE,
}
