"""Looking up a client's address among networks that are exempt or trusted."""

from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

from benchmarks.measure import Batch, Effort, Row, faster, interleaved, ratio
from noai_guard.core.networks import NetworkSet

_STRIDE = 1 << 14
"""Addresses between the starts of two networks, so that none are merged."""


def rows(effort: Effort) -> Iterator[Row]:
    few, many = ([IPv4Network((number * _STRIDE, 24)) for number in range(count)] for count in (300, 100_000))
    size = effort.of(2000, 20)
    # Between the networks, where most clients are.
    known = [str(IPv4Address(number * _STRIDE + 1000)) for number in range(size)]
    members, answers = NetworkSet(many), dict.fromkeys(known, False)
    timings = interleaved(
        {"ours": _each(members.__contains__, [known]), "dict": _each(answers.__contains__, [known])}, effort.rounds
    )
    yield ratio("remembered address, 100,000 networks", timings["ours"], timings["dict"], "a dict look-up", unit="ns")
    # No two batches share an address.
    fresh = [
        [str(IPv4Address((203 << 24) + turn * size + number)) for number in range(size)]
        for turn in range(effort.rounds + 1)
    ]
    timings = interleaved(
        {"ours": _each(members.__contains__, fresh), "parse": _each(ip_address, fresh)}, effort.rounds
    )
    yield ratio("new address, 100,000 networks", timings["ours"], timings["parse"], "ip_address(text)", 2.5)
    texts = [str(network) for network in many[: effort.of(100_000, 500)]]
    timings = interleaved(
        {"ours": lambda: len(NetworkSet(texts)), "parse": _each(ip_network, [texts])}, max(effort.rounds // 4, 1)
    )
    yield ratio("building from text, each network", timings["ours"], timings["parse"], "ip_network(text)", 1)
    members = NetworkSet(few)
    scan = _each(lambda text: any(ip in network for ip in (ip_address(text),) for network in few), [known[:20]])
    timings = interleaved({"ours": _each(members.__contains__, [known]), "scan": scan}, effort.rounds)
    yield faster("remembered address, 300 networks", timings["ours"], timings["scan"], "any(ip in network ...)", 20)


def _each(look_up: Callable[[str], object], batches: Sequence[Sequence[str]]) -> Batch:
    turn = 0

    def batch() -> int:
        nonlocal turn
        addresses = batches[turn % len(batches)]
        turn += 1
        for address in addresses:
            look_up(address)
        return len(addresses)

    return batch
