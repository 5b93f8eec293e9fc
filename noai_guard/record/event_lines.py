"""Lines of the event log from the events that requests hand over: with pseudonyms, works, and what was declared before.

Everything here happens in the thread that writes, never in a request.
"""

from collections import OrderedDict
from datetime import UTC, datetime

from noai_guard.core.bounded_cache import BoundedCache
from noai_guard.core.client_address import address_block
from noai_guard.core.model import Verdict
from noai_guard.core.paths import normal_path
from noai_guard.observability.events import Event, PolicyInForce, is_of_people
from noai_guard.record.event_record import KEYS, EventRecord, encoded
from noai_guard.record.pseudonyms import Pseudonyms

_MAX_CLIENTS = 16_384
_MAX_DECLARED = 16

_VERDICT_KEYS = [*KEYS][1 : [*KEYS].index("declared")]
"""The keys between `time` and `declared`, whose values depend on verdict and policy alone."""


class ServedBefore:
    """The names of the declarations that each client has been served, in the order of the first time.

    A client is an agent's name and an address block. Of more than `max_clients`, those that did not come for longest
    are forgotten.
    """

    def __init__(self, max_clients: int = _MAX_CLIENTS) -> None:
        self._max_clients = max_clients
        self._names: OrderedDict[tuple[str, str], tuple[str, ...]] = OrderedDict()

    def before(self, client: tuple[str, str], *served: str) -> tuple[str, ...]:
        """Return what a client had been served, and remember what it is served now."""
        before = self._names.get(client, ())
        new = tuple(name for name in served if name not in before)
        if new:
            self._names[client] = (before + new)[:_MAX_DECLARED]
        if client in self._names:
            self._names.move_to_end(client)
            if len(self._names) > self._max_clients:
                self._names.popitem(last=False)
        return before


class LineWriter:
    """Turns events into lines. `pseudonyms` is None where addresses are written as they are."""

    def __init__(self, pseudonyms: Pseudonyms | None) -> None:
        self.pseudonyms = pseudonyms
        self.served = ServedBefore()
        self._of_verdict: BoundedCache[tuple[Verdict, PolicyInForce, int | None], str] = BoundedCache(_verdict_part)
        self._user_agents: BoundedCache[bytes, str] = BoundedCache(_user_agent_json)
        self._hosts: BoundedCache[bytes, str] = BoundedCache(_host_json)
        self._works: BoundedCache[tuple[PolicyInForce, str], str] = BoundedCache(_work_json)

    def line(self, event: Event) -> bytes | None:
        """Return the line of an event, None if it is only to be remembered: a declaration that a person reads."""
        verdict, policy, address = event.verdict, event.policy or _UNKNOWN, event.address
        name = verdict.agent.name if verdict.agent else ""
        # What another server sends with its response, only its configuration knows.
        served = event.served if event.document or event.status is not None else ()
        before = self.served.before((name, address_block(address)), *served)
        if event.document and is_of_people(verdict.agent):
            return None
        moment = datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds")
        path = normal_path(event.path)
        client = address or "" if self.pseudonyms is None else self.pseudonyms.of(address)
        return (
            f'{{"time":"{moment[:23]}Z",{self._of_verdict[verdict, policy, policy.ledger]}'
            f',"declared":{KEYS["declared"].encode(before)},"work":{self._works[policy, path]}'
            f',"method":{KEYS["method"].encode(event.method)},"host":{self._hosts[event.host]}'
            f',"path":{KEYS["path"].encode(path)},"status":{KEYS["status"].encode(event.status)}'
            f',"bytes":{KEYS["bytes"].encode(event.bytes)},"client":{KEYS["client"].encode(client)}'
            f',"user_agent":{self._user_agents[event.user_agent]}}}'
        ).encode("ascii")


_UNKNOWN = PolicyInForce()


def _verdict_part(key: tuple[Verdict, PolicyInForce, int | None]) -> str:
    verdict, policy, ledger = key
    agent = verdict.agent
    record = EventRecord(
        time=datetime.min,
        claim=agent.name if agent else "",
        operator=agent.operator if agent else "",
        identity=verdict.identity,
        proof=verdict.proof,
        action=verdict.action,
        enforced=verdict.enforced,
        rule=verdict.rule,
        reasons=verdict.reasons,
        usage=verdict.usage,
        policy=policy.digest,
        ledger=ledger,
    )
    return encoded(record, _VERDICT_KEYS)


def _user_agent_json(user_agent: bytes) -> str:
    return KEYS["user_agent"].encode(user_agent.decode("latin-1"))


def _host_json(host: bytes) -> str:
    return KEYS["host"].encode(host.decode("latin-1"))


def _work_json(key: tuple[PolicyInForce, str]) -> str:
    policy, path = key
    return KEYS["work"].encode(policy.works.work_in_any_case(path))
