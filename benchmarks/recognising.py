"""Recognising a user agent, new or seen before."""

from collections.abc import Callable, Iterator, Mapping

from ahocorasick_rs import BytesAhoCorasick, Implementation

from benchmarks.measure import Batch, Effort, Row, interleaved, ratio
from benchmarks.visitors import MIX, catalog_of, copies, token_forms, unique
from noai_guard import Guard, load_catalog, load_stance
from noai_guard.core.user_agent_matcher import compile_token

_PEER = "lower-case, Aho-Corasick in Rust"
_CATALOGUES = (300, 10_000)
_VISITORS: tuple[tuple[str, Mapping[str, float], bool], ...] = (
    ("mix", MIX, False),
    ("browsers", {"browsers": 1.0}, False),
    ("agents", {"agents": 1.0}, False),
    ("mix, each with a new word", MIX, True),
)

Recognise = Callable[[bytes], object]


def _peer(forms: list[str]) -> Recognise:
    """Aho-Corasick over the texts of the same tokens, in its fastest form (a DFA). It knows no word boundaries,
    no URLs, no escapes and no order among agents."""
    texts = list(dict.fromkeys(compile_token(form, None).text for form in forms))
    return BytesAhoCorasick(texts, implementation=Implementation.DFA).find_matches_as_indexes


def new(effort: Effort) -> Iterator[Row]:
    """User agents that were never seen before: every batch has its own."""
    for count in _CATALOGUES:
        forms = token_forms(count)
        search = _peer(forms)
        for visitors, kinds, words in _VISITORS:
            # A catalogue for each row: a list of user agents must be new to it.
            find = catalog_of(forms).find
            yield _against_peer(f"new user agent, {count:,} tokens, {visitors}", find, search, kinds, words, effort)
    few, many = (catalog_of(token_forms(count)).find for count in _CATALOGUES)
    mozilla = _Visitors({"browsers": 1.0}, False, effort)
    timings = interleaved({"many": mozilla.each(many), "few": mozilla.each(few)}, effort.rounds)
    what = "new user agent, browsers, 10,000 tokens against 300"
    yield ratio(what, timings["many"], timings["few"], "300 tokens", 1.25)
    catalog = load_catalog()
    forms = [form for agent in catalog.agents for form in agent.expected_user_agent]
    search = _peer(forms)
    yield _against_peer("new user agent, packaged catalogue, mix", catalog.find, search, MIX, False, effort)
    guard = Guard(load_stance(), catalog)
    what = "new user agent, packaged catalogue, mix, judged"

    def judge(user_agent: bytes) -> object:
        return guard.judged("/", user_agent)

    yield _against_peer(what, judge, search, MIX, False, effort, bound=None)


class _Visitors:
    """User agents of which no two batches of one contender share any."""

    def __init__(self, kinds: Mapping[str, float], words: bool, effort: Effort) -> None:
        self._size = effort.of(2000, 20)
        self._user_agents = unique(kinds, self._size * (effort.rounds + 1), words=words)

    def each(self, recognise: Recognise, *, lower: bool = False) -> Batch:
        turn = 0

        def batch() -> int:
            nonlocal turn
            user_agents = self._user_agents[turn * self._size : (turn + 1) * self._size]
            turn += 1
            if lower:
                for user_agent in user_agents:
                    recognise(user_agent.lower())
            else:
                for user_agent in user_agents:
                    recognise(user_agent)
            return len(user_agents)

        return batch


def _against_peer(
    what: str,
    ours: Recognise,
    peer: Recognise,
    kinds: Mapping[str, float],
    words: bool,
    effort: Effort,
    bound: float | None = 2,
) -> Row:
    visitors = _Visitors(kinds, words, effort)
    timings = interleaved({"ours": visitors.each(ours), "peer": visitors.each(peer, lower=True)}, effort.rounds)
    return ratio(what, timings["ours"], timings["peer"], _PEER, bound)


def seen(effort: Effort) -> Iterator[Row]:
    """User agents that were seen before: in new bytes each time, as servers hand them over, and in the same."""
    memo = Guard(load_stance(), load_catalog()).claims
    recognise = memo.__getitem__
    known = unique(MIX, 300, seed=3)
    plain = {user_agent: recognise(user_agent) for user_agent in known}
    asked: list[bytes] = []

    def by_call(look_up: Recognise) -> Batch:
        def batch() -> int:
            for user_agent in asked:
                look_up(user_agent)
            return len(asked)

        return batch

    def by_memo() -> int:
        for user_agent in asked:
            memo[user_agent]
        return len(asked)

    def by_dict() -> int:
        for user_agent in asked:
            plain[user_agent]
        return len(asked)

    for bytes_are, make in (("new bytes", copies), ("same bytes", list[bytes])):

        def renew(make: Callable[[list[bytes]], list[bytes]] = make) -> None:
            asked[:] = make(known * effort.of(40))

        contenders = {"match": by_call(recognise), "get": by_call(plain.get), "memo": by_memo, "dict": by_dict}
        timings = interleaved(contenders, effort.rounds, renew)
        what = f"seen user agent, {bytes_are}"
        yield ratio(f"{what}: call(ua)", timings["match"], timings["get"], "dict.get(ua)", 2, "ns")
        yield ratio(f"{what}: memo[ua]", timings["memo"], timings["dict"], "dict[ua]", 2, "ns")
