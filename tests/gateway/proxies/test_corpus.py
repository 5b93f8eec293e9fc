"""The catalogue's samples and the browsers through each real proxy: the verdict is the one that ASGI gives."""

import os

import pytest

from noai_guard.core.model import Action
from tests.gateway.proxies.running_proxies import STARTERS, compiled_policy
from tests.targets.conformance import corpus, fetch_all

FULL = os.environ.get("NOAI_FULL") == "1"
STATUS = {Action.DENY: 403, Action.LICENSE_REQUIRED: 402, Action.ALLOW: 200, Action.LOG: 200}


@pytest.mark.parametrize("key", STARTERS)
def test_every_client_gets_the_verdict_that_the_judge_gives(key, proxy_port):
    guard = compiled_policy().guard
    asks = [
        (path, user_agent)
        for user_agent in corpus()[:: 1 if FULL else 29]
        for path in ("/page", "/press/kit")
        if guard.judged(path, user_agent).action is not Action.THROTTLE
    ]
    assert len(asks) > 150
    wrong = [
        (path, user_agent, answer.status)
        for (path, user_agent), answer in fetch_all(proxy_port(key), asks)
        if answer.status != STATUS[guard.judged(path, user_agent).action]
    ]
    assert not wrong
