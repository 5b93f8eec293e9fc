"""The gateway's HTTP/1.1 connection: most verdicts are ready as soon as the head of a request has been read."""

from collections.abc import Sequence

from noai_guard.core.model import HeaderField
from noai_guard.core.request import PlainRequest
from noai_guard.gateway.app import Gateway
from noai_guard.gateway.auth_responses import EncodedResponse
from noai_guard.gateway.contract import ANSWER, AUTH_REQUEST, VERIFY
from noai_guard.uvicorn_adapter import EarlyResponseConnection

_VERIFY, _ANSWER = VERIFY.encode("ascii"), ANSWER.encode("ascii")
_AUTH_REQUEST = {path.encode("ascii"): status for path, status in AUTH_REQUEST.items()}


def protocol_for(gateway: Gateway) -> type[EarlyResponseConnection]:
    """Return the protocol with which uvicorn serves this gateway."""

    class GatewayConnection(EarlyResponseConnection):
        def early_response(
            self, method: str, target: bytes, headers: list[HeaderField], client: Sequence[object] | None
        ) -> bytes | None:
            path = target.partition(b"?")[0]
            request = PlainRequest("", headers, method, client)
            if status := _AUTH_REQUEST.get(path):
                return gateway.encoded_verdict(request, refusing=status)
            if path == _ANSWER and method != "HEAD":
                return EncodedResponse(gateway.refusal(request)).wire
            if path == _VERIFY or path.startswith(_VERIFY + b"/"):
                return gateway.encoded_verdict(request, path.removeprefix(_VERIFY))
            return None

    return GatewayConnection
