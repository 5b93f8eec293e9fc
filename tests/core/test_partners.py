"""Licensed partners: who proves itself is let in for what it has a licence for, and told why not for what it has not."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from noai_guard.config import check_policy_text, load_catalog
from noai_guard.core.guard import Guard, Needs
from noai_guard.core.identity.signing_keys import SigningKey, read_keys
from noai_guard.core.identity.web_bot_auth import WELL_KNOWN
from noai_guard.core.model import Action, HeaderField, Verdict
from noai_guard.core.partners import GrantOutcome, Partner, bearer_digest, midnight
from noai_guard.core.questions import Count, FirstUse
from noai_guard.core.request import PlainRequest
from tests.signing import Signer, directory_of

KEY = b"noai_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHI"
OTHER = b"noai_another_key_of_somebody_else_________________"
DIGEST = hashlib.sha256(KEY).hexdigest()
DIRECTORY = "https://agent.example" + WELL_KNOWN
SIGNER, SECOND = Signer(), Signer()
NOW = midnight("2026-06-15") + 3600
SITE = "site: {url: https://music.example}\n"
GRANT = f"{SITE}partners: [{{name: acme, proof: {{api_key: {DIGEST}}}, usages: [train-ai], paths: [/catalogue/**], "
GRANT += "from: 2026-06-01, until: 2026-06-30}]\n"
BEARER = (b"authorization", b"Bearer " + KEY)
GPTBOT = (b"user-agent", b"GPTBot/1.3")


def guard_of(text: str) -> Guard:
    policy, problems = check_policy_text(text.encode())
    assert policy is not None, problems
    return Guard(policy, load_catalog())


def judged(
    text: str | Guard,
    *headers: HeaderField,
    path: str = "/catalogue/1",
    at: float = NOW,
    address: str | None = None,
    answers: dict[type, Any] | None = None,
    raw_paths: tuple[bytes, ...] = (),
    doubt: str | None = None,
) -> Verdict:
    guard = text if isinstance(text, Guard) else guard_of(text)
    request = PlainRequest(path, headers, raw_paths=raw_paths, target=path.encode())
    examination = guard.examine(request, address, at, doubt=doubt)
    answer: Any = None
    try:
        while True:
            question = examination.send(answer)
            if isinstance(question, SigningKey) and SigningKey not in (answers or {}):
                key = read_keys(directory_of(SIGNER, SECOND)).get(question.thumbprint)
                answer = (key,) if key else ()
            else:
                answer = {Count: 1, FirstUse: True, **(answers or {})}[type(question)]
    except StopIteration as done:
        verdict: Verdict = done.value
        return verdict


def test_a_partner_with_its_key_is_let_in_and_logged() -> None:
    verdict = judged(GRANT, GPTBOT, BEARER)
    assert (verdict.action, verdict.rule) == (Action.LOG, "partner:acme")
    assert "acme has proved itself (API key), and its grant holds until 2026-06-30" in verdict.reasons
    assert judged(GRANT, GPTBOT).action is Action.DENY


def test_a_partner_that_names_nobody_known_is_known_by_its_proof() -> None:
    bots = GRANT + "usages: {unknown-bot: no}\n"
    assert judged(bots, (b"user-agent", b"AcmeBot/1.0")).action is Action.DENY
    assert judged(bots, (b"user-agent", b"AcmeBot/1.0"), BEARER).rule == "partner:acme"


def test_who_is_let_in_anyway_needs_no_grant() -> None:
    assert judged(GRANT, (b"user-agent", b"Googlebot/2.1"), BEARER).rule == "search"
    assert judged(GRANT, (b"user-agent", b"Mozilla/5.0 Firefox/154.0"), BEARER).rule == "unclaimed"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"at": midnight("2026-05-31")}, "The grant of acme begins on 2026-06-01"),
        ({"at": midnight("2026-07-01")}, "The grant of acme ended on 2026-06-30"),
        ({"path": "/press/1"}, "The grant of acme does not cover this path"),
        ({"path": "/catalogue/../press/1"}, "The grant of acme does not cover this path"),
        ({"raw_paths": (b"/catalogue/%2e%2e%2fpress/1",)}, "The grant of acme does not cover this path"),
        ({"path": "/catalogue/" + "a/../" * 20_000}, "The grant of acme does not cover this path"),
    ],
)
def test_what_the_grant_does_not_cover_is_refused_with_a_sentence(change: dict[str, Any], sentence: str) -> None:
    verdict = judged(GRANT, GPTBOT, BEARER, **change)
    assert (verdict.action, verdict.rule, verdict.message) == (Action.DENY, "partner:acme", sentence)
    assert sentence in verdict.reasons


@pytest.mark.parametrize("day", ["2026-06-01", "2026-06-30"])
def test_the_first_and_the_last_day_are_granted_whole(day: str) -> None:
    for second in (0, 86_399):
        assert judged(GRANT, GPTBOT, BEARER, at=midnight(day) + second).action is Action.LOG


def test_a_usage_that_is_not_granted_is_named() -> None:
    verdict = judged(GRANT, (b"user-agent", b"Scrapy/2.11"), BEARER)
    assert verdict.message == "The grant of acme covers train-ai, not scraper"
    several = judged(GRANT, (b"user-agent", b"x" * 1500 + b" ClaudeBot PerplexityBot/1 " + b"x" * 3000), BEARER)
    assert several.message.startswith("The grant of acme covers train-ai, not ")


def test_a_rule_gives_way_to_a_grant_and_keeps_its_message() -> None:
    rule = GRANT + "rules: [{id: openai, operators: [OpenAI], action: deny, message: Write to us.}]\n"
    assert judged(rule, GPTBOT, BEARER).rule == "partner:acme"
    refused = judged(rule, GPTBOT, BEARER, path="/press")
    assert refused.message == "Write to us. The grant of acme does not cover this path"
    assert judged(rule, GPTBOT).rule == "openai"


def test_an_agent_that_only_a_rule_refuses_needs_a_grant_for_its_usages() -> None:
    rule = GRANT + "rules: [{agents: [Googlebot], action: deny}]\n"
    assert (
        judged(rule, (b"user-agent", b"Googlebot/2.1"), BEARER).message
        == "The grant of acme covers train-ai, not search"
    )


def test_a_throttled_partner_is_not_throttled_under_its_grant() -> None:
    throttled = GRANT + "usages: {train-ai: throttle}\nlimits: {throttle: {requests: 1}}\n"
    assert judged(throttled, GPTBOT, BEARER, answers={Count: 5}).action is Action.LOG
    assert judged(throttled, GPTBOT, answers={Count: 5}).action is Action.THROTTLE


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + OTHER)],
        [(b"authorization", b"Basic dXNlcjpwYXNzd29yZA==")],
        [(b"authorization", b"Bearer " + KEY + b"x")],
        [(b"authorization", b"Bearer " + KEY.lower())],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer " + b"a" * 600)],
        [(b"authorization", b"Bearer \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")],
        [(b"authorization", KEY)],
        [(b"authorization", b"Bearer " + bytes.fromhex(DIGEST))],
        [(b"authorization", b"Bearer " + DIGEST.encode())],
        [BEARER, BEARER],
        [(b"x-api-key", KEY)],
    ],
)
def test_another_authorization_is_simply_no_partner(headers: list[HeaderField]) -> None:
    verdict = judged(GRANT, GPTBOT, *headers)
    assert (verdict.action, verdict.rule, verdict.message) == (Action.DENY, "train-ai", "")


def test_the_scheme_is_read_in_any_letter_case() -> None:
    assert bearer_digest([(b"authorization", b" bEARER  " + KEY)]).hex() == DIGEST


def test_no_reason_repeats_a_key() -> None:
    for headers in ((GPTBOT, BEARER), (GPTBOT, (b"authorization", b"Bearer " + OTHER))):
        assert not any(b"noai_" in reason.encode() for reason in judged(GRANT, *headers).reasons)


NETWORKS = SITE + "partners: [{name: net, proof: {networks: [198.51.100.0/24]}, usages: train-ai}]\n"


def test_a_partner_comes_from_its_networks() -> None:
    assert judged(NETWORKS, GPTBOT, address="198.51.100.7").rule == "partner:net"
    assert judged(NETWORKS, GPTBOT, address="198.51.101.7").rule == "train-ai"
    assert judged(NETWORKS, GPTBOT, (b"authorization", b"x"), address="198.51.101.7").rule == "train-ai"
    assert judged(NETWORKS, GPTBOT, (b"authorization", b"x")).rule == "train-ai"


def test_an_address_that_is_not_known_to_be_the_clients_proves_nothing() -> None:
    assert judged(NETWORKS, GPTBOT, address="198.51.100.7", doubt="proxy_not_named").rule == "train-ai"


def test_several_proofs_all_have_to_hold() -> None:
    both = GRANT.replace("proof: {", "proof: {networks: [198.51.100.0/24], ")
    assert judged(both, GPTBOT, BEARER, address="198.51.100.7").rule == "partner:acme"
    assert judged(both, GPTBOT, BEARER, address="192.0.2.7").rule == "train-ai"
    assert judged(both, GPTBOT, address="198.51.100.7").rule == "train-ai"


def test_of_several_keys_of_a_partner_each_counts() -> None:
    rotated = GRANT.replace(DIGEST, f"[{hashlib.sha256(OTHER).hexdigest()}, {DIGEST}]")
    for key in (KEY, OTHER):
        assert judged(rotated, GPTBOT, (b"authorization", b"Bearer " + key)).action is Action.LOG


def test_of_several_grants_the_one_that_covers_the_request_counts() -> None:
    two = f"{SITE}partners:\n- {{name: old, proof: {{api_key: {DIGEST}}}, usages: train-ai, until: 2026-01-01}}\n"
    two += f"- {{name: new, proof: {{api_key: {DIGEST}}}, usages: train-ai}}\n"
    assert judged(two, GPTBOT, BEARER).rule == "partner:new"
    assert judged(two.replace("new", "newer, until: 2026-02-01"), GPTBOT, BEARER).rule == "partner:old"


SIGNS = SITE + "partners: [{name: signer, proof: {signature: {directory: https://agent.example}}, usages: train-ai}]\n"


def signed(signer: Signer = SIGNER, **options: Any) -> list[HeaderField]:
    return signer.headers("https://music.example/catalogue/1", NOW, **options)


def test_a_partner_that_signs_is_let_in() -> None:
    verdict = judged(SIGNS, GPTBOT, *signed())
    assert (verdict.action, verdict.rule) == (Action.LOG, "partner:signer")
    assert judged(SIGNS, GPTBOT, *signed(Signer())).action is Action.DENY
    assert judged(SIGNS, GPTBOT, *signed(agent='sig1="https://evil.example"')).action is Action.DENY


def test_only_the_keys_that_the_policy_names_count() -> None:
    named = SIGNS.replace("agent.example}", f"agent.example, key_ids: [{SECOND.public.thumbprint}]}}")
    assert judged(named, GPTBOT, *signed(SECOND)).rule == "partner:signer"
    assert judged(named, GPTBOT, *signed(SIGNER)).action is Action.DENY


def test_while_a_proof_cannot_be_looked_at_the_policy_without_the_grant_holds() -> None:
    for text in (SIGNS, SIGNS + "on_unknown: allow\n"):
        verdict = judged(text, GPTBOT, *signed(), answers={SigningKey: None})
        assert (verdict.action, verdict.rule) == (Action.DENY, "train-ai")
        assert "a partner's proof could not be checked" in verdict.reasons[-1]


def test_one_signature_is_checked_once_for_all_partners_that_sign() -> None:
    entry = "proof: {signature: {directory: https://agent.example}}, usages: train-ai"
    two = f"{SITE}partners:\n- {{name: first, {entry}, until: 2026-01-01}}\n- {{name: second, {entry}}}\n"
    assert judged(two, GPTBOT, *signed(nonce="n")).rule == "partner:second"


def test_a_partner_without_a_proof_is_nobody() -> None:
    from dataclasses import replace

    from noai_guard.core.model import Usage

    guard = guard_of(GRANT)
    policy = replace(guard.policy, partners=(Partner("open", frozenset({Usage.TRAIN_AI})),))
    assert judged(Guard(policy, guard.catalog), GPTBOT, BEARER).action is Action.DENY


def test_only_what_may_be_refused_waits_for_a_proof() -> None:
    guard = guard_of(GRANT)
    table = guard.table
    for user_agent, needed in ((b"GPTBot/1.3", True), (b"Mozilla/5.0 Firefox/154.0", False), (b"Overcast/3", False)):
        needs = guard.needs(guard.claims[user_agent], table.path_classes["/"])
        assert bool(needs & Needs.PARTNER) is needed, user_agent
    exempt = guard_of(GRANT + "exemptions: {paths: [/open/**]}\n")
    assert not exempt.needs(exempt.claims[b"GPTBot/1.3"], exempt.table.path_classes["/open/1"]) & Needs.PARTNER


def test_the_outcomes_of_a_grant_are_words_for_logs() -> None:
    assert {outcome.value for outcome in GrantOutcome} == {"granted", "not_yet", "ended", "wider_usage", "wider_path"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GRANT.replace(DIGEST, KEY.decode()), "P040"),
        (GRANT.replace("2026-06-01", "June"), "P041"),
        (GRANT.replace("2026-06-01", "2026-02-30"), "P041"),
        (GRANT.replace("2026-06-30", "2026-05-30"), "P041"),
        (SIGNS.replace("https://agent", "http://agent"), "P042"),
        (SIGNS.replace("agent.example}", "agent.example, key_ids: [abc]}"), "P042"),
        (SIGNS.replace("agent.example}", "agent.example, key_ids: [ab=c]}"), "P042"),
        (GRANT.replace("}]\n", f"}}, {{name: ACME, proof: {{api_key: {DIGEST}}}, usages: seo}}]\n"), "P043"),
        (SITE + "partners: [{name: a, proof: {}, usages: seo}]\n", "P044"),
        (SIGNS.removeprefix(SITE), "P045"),
        (GRANT.replace("name: acme", "name: 'a:b'"), "P007"),
        (GRANT.replace("name: acme, ", ""), "P010"),
        (GRANT.replace("train-ai", "trian-ai"), "P012"),
        (GRANT.replace("/catalogue/**", "catalogue"), "P011"),
        (SITE + "signatures: {hosts: [https://a.example]}\n", "P014"),
        (SITE + "signatures: {keys: {https://agent.example: missing.json}}\n", "P001"),
        (SITE + "feeds: [http://lists.example/robots.json]\n", "P014"),
        (SITE + "refresh: {every: 24}\n", "P010"),
        (SITE + "refresh: {folder: lists, every: 0}\n", "P008"),
    ],
)
def test_mistakes_have_a_code_and_a_hint_and_never_repeat_a_key(text: str, code: str) -> None:
    _, problems = check_policy_text(text.encode())
    assert code in {problem.code for problem in problems}, problems
    assert all(problem.hint for problem in problems)
    assert KEY.decode() not in "\n".join(map(str, problems))


def test_hosts_of_the_site_are_those_that_requests_are_signed_for() -> None:
    policy = guard_of(SITE + "signatures: {hosts: [WWW.music.example, 'music.example:8443', '[::1]:8443']}\n").policy
    assert policy.authorities == ("music.example", "www.music.example", "music.example:8443", "[::1]:8443")
    assert guard_of("signatures: {hosts: [a.example]}\n").policy.authorities == ("a.example",)


def test_keys_in_a_file_are_read_with_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "noai.yaml"
    text = SIGNS + "signatures: {keys: {https://agent.example: agent.json}}\n"
    (tmp_path / "agent.json").write_bytes(directory_of(SIGNER))
    policy, problems = check_policy_text(text.encode(), str(file))
    assert policy is not None, problems
    assert set(policy.key_sets[DIRECTORY]) == {SIGNER.public.thumbprint}
    for content in (b"[]", directory_of(SIGNER, d="private")):
        (tmp_path / "agent.json").write_bytes(content)
        policy, problems = check_policy_text(text.encode(), str(file))
        assert policy is None
        assert [problem.code for problem in problems] == ["P042"]
