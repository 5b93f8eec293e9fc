"""A claim checked by the name of its address: reverse DNS, confirmed forwards, under the operator's suffixes."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from noai_guard.core.identity.proof import Basis, Claimed, Finding, Proof, Way
from noai_guard.core.identity.settings import IdentitySettings
from noai_guard.core.model import Agent
from noai_guard.core.questions import Examination, Question

MAX_NAMES = 8
"""Names of one address that are looked at. Crawlers have one; a web host's address may have thousands."""


@dataclass(frozen=True, slots=True)
class HostName(Question[str]):
    """The name of `address` that ends in one of `suffixes` and leads back to the address; "" if it has none.

    `address` is canonical as `ClientAddress.address`; suffixes are in lower case and begin with a dot.
    """

    address: str
    suffixes: tuple[str, ...]


Records = Generator[tuple[str, str], Sequence[str], str]
"""Yields (name, type of record), is sent the values (none if the DNS says that there are none), returns a name."""


def confirmed_name(question: HostName) -> Records:
    """Return the answer to a question, from PTR, A and AAAA records. It gives up when a look-up raises."""
    address = ip_address(question.address)
    names = yield address.reverse_pointer, "PTR"
    for name in names[:MAX_NAMES]:
        name = name.lower().rstrip(".")
        if not name.endswith(question.suffixes):
            continue
        values = yield name, "A" if address.version == 4 else "AAAA"
        # The record of a name that anybody can write says nothing; that of the operator's zone does.
        if any(_is(value, address) for value in values):
            return name
    return ""


def _is(text: str, address: object) -> bool:
    try:
        return ip_address(text) == address
    except ValueError:
        return False


def suffixes(agent: Agent) -> tuple[str, ...]:
    """Return the suffixes of the names that the agent's operator documents, in lower case."""
    listed = agent.verify.get("reverse_dns", ())
    return tuple(suffix.lower() for suffix in listed)


def _applies(agent: Agent, settings: IdentitySettings) -> bool:
    return bool(suffixes(agent)) and agent.name.lower() not in settings.policy.networks


def _check(claimed: Claimed) -> Examination[Proof]:
    documented = suffixes(claimed.agent)
    listed = ", ".join(documented)
    name = yield HostName(claimed.address or "", documented)
    if name is None:
        return Proof(Finding.UNANSWERED, f"reverse DNS did not answer whether the address has a name under {listed}")
    if name:
        return Proof(Finding.PROVEN, f"the address has a name under {listed}, and that name leads back to it")
    return Proof(Finding.DISPROVEN, f"the address has no name under {listed} that leads back to it")


WAY = Way("reverse_dns", Basis.BLOCK, _applies, _check)
