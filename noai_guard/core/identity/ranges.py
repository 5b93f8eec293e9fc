"""A claim checked by the networks that its agent's operator publishes, or that the site vouches for."""

from collections.abc import Mapping

from noai_guard.core.identity.proof import Basis, Claimed, Finding, Proof, Way
from noai_guard.core.identity.published import PublishedRanges
from noai_guard.core.identity.settings import SECONDS_PER_DAY, IdentitySettings
from noai_guard.core.model import Agent
from noai_guard.core.questions import Examination


def published(agent: Agent, ranges: Mapping[str, PublishedRanges]) -> tuple[PublishedRanges, ...]:
    """Return the lists of an agent that are known here."""
    uris = agent.verify.get("ips_uri", ())
    return tuple(ranges[uri] for uri in uris if uri in ranges)


def _applies(agent: Agent, settings: IdentitySettings) -> bool:
    return agent.name.lower() in settings.policy.networks or bool(published(agent, settings.ranges))


def _check(claimed: Claimed) -> Examination[Proof]:
    yield from ()
    agent, settings, address = claimed.agent, claimed.settings, claimed.address or ""
    own = settings.policy.networks.get(agent.name.lower())
    if own is not None:
        if address in own:
            return Proof(Finding.PROVEN, f"the address is in a network that the policy gives for {agent.name}")
        return Proof(Finding.DISPROVEN, f"the address is in no network that the policy gives for {agent.name}")
    lists = published(agent, settings.ranges)
    for ranges in lists:
        if address in ranges.networks:
            return Proof(Finding.PROVEN, f"the address is in a network of {ranges.uri} of {ranges.date}")
    uris = ", ".join(f"{ranges.uri} of {ranges.date}" for ranges in lists)
    # Where an agent names several lists, it may come from any: one that is missing here proves nothing.
    is_complete = len(lists) == len(agent.verify.get("ips_uri", ()))
    oldest = min(ranges.published_at for ranges in lists)
    days = settings.policy.stale_after
    # A list from the future says that a clock is wrong, and then no age is known. A day is for time zones.
    is_fresh = -SECONDS_PER_DAY <= claimed.received_at - oldest <= days * SECONDS_PER_DAY
    if is_complete and is_fresh:
        return Proof(Finding.DISPROVEN, f"the address is in no network of {uris}")
    why = f"which is older than {days} days" if is_complete else "and other lists of the operator are not known here"
    return Proof(Finding.SILENT, f"the address is in no network of {uris}, {why}")


WAY = Way("networks", Basis.ADDRESS, _applies, _check)
