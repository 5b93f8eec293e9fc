"""Fastly: VCL snippets for its dialect, to be uploaded as `recv`, `deliver` and `error` snippets of a service."""

from collections.abc import Iterator

from noai_guard.core.model import Document
from noai_guard.core.path_patterns import glob_to_regex
from noai_guard.responses.documents import document_headers
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets import ordered_rules, user_agent_regex
from noai_guard.targets.ordered_rules import ListedRule, rules
from noai_guard.targets.plan import PathSet, TargetPlan
from noai_guard.targets.target import File, ServerTarget, head

_LONGEST = 3500
_OURS = 860
"""`error` with this number asks vcl_error for what X-NoAI-Answer names; Fastly's own are elsewhere (2026-11)."""


def quote(text: str) -> str:
    """A text as a VCL string: long strings of Fastly take everything but their own end."""
    parts = text.replace("\0", "").split('"}')
    return ' "%22" "}" '.join(f'{{"{part}"}}' for part in parts)


def _agents(rule: ListedRule) -> str:
    found = [expression.pattern() for expression in user_agent_regex.expressions(rule.tokens, _LONGEST)]
    found += [user_agent_regex.host_expression(token) for token in rule.tokens if token.host]
    return " || ".join(f"req.http.User-Agent ~ {quote(f'(?i){pattern}')}" for pattern in found)


def _in_paths(paths: PathSet) -> str:
    patterns = (glob_to_regex(glob) for glob in paths.globs)
    return " || ".join(f"urldecode(req.url.path) ~ {quote(pattern)}" for pattern in patterns)


def _recv(plan: TargetPlan) -> Iterator[str]:
    yield f"# {head(plan, 'fastly')}"
    yield "# Type recv, before your own: nothing that is refused is looked up."
    yield "unset req.http.X-NoAI-Answer;"
    yield 'set req.http.X-NoAI-Verdict = "allow";'
    yield "declare local var.noai_open BOOL;"
    yield "set var.noai_open = false;"
    for number, document in enumerate(plan.documents):
        yield f'if (req.url.path == {quote(document.path)} && (req.method == "GET" || req.method == "HEAD")) {{'
        yield from _asks(f"d{number}")
        yield "}"
    if plan.exempt_networks:
        yield "if (client.ip ~ noai_exempt) { set var.noai_open = true; }"
    for number, rule in enumerate(rules(plan)):
        conditions = [condition for condition in (_agents(rule), rule.paths and _in_paths(rule.paths)) if condition]
        yield "if (!var.noai_open" + "".join(f" && ({condition})" for condition in conditions)
        yield "".join(f"  && !({_in_paths(paths)})" for paths in rule.unless) + ") {"
        word = "allow" if rule.lets_in else f"{rule.decision.word}; rule={rule.decision.verdict.rule}; agent="
        yield f"  set req.http.X-NoAI-Verdict = {quote(word)};"
        yield from _asks(f"r{number}") if rule.decision.status else ["  set var.noai_open = true;"]
        yield "}"


def _asks(answer: str) -> Iterator[str]:
    yield f'  set req.http.X-NoAI-Answer = "{answer}";'
    yield f"  error {_OURS};"


def _error(plan: TargetPlan) -> Iterator[str]:
    yield f"# {head(plan, 'fastly')}"
    yield "# Type error."
    for number, document in enumerate(plan.documents):
        yield from _answer(f"d{number}", 200, _document_fields(document), document.body.decode("utf-8"))
    for number, rule in enumerate(rules(plan)):
        decision = rule.decision
        if decision.status:
            fields = [(name.decode(), value.decode("ascii")) for name, value in decision.headers]
            own = [field for field in fields if field not in _declared(plan)]
            yield from _answer(f"r{number}", decision.status, own, f"This client{decision.tail}")


def _document_fields(document: Document) -> list[tuple[str, str]]:
    return [
        (name.decode(), value.decode("ascii"))
        for name, value in document_headers(document)
        if name != b"content-length"
    ]


def _answer(answer: str, status: int, fields: list[tuple[str, str]], body: str) -> Iterator[str]:
    yield f'if (obj.status == {_OURS} && req.http.X-NoAI-Answer == "{answer}") {{'
    yield f"  set obj.status = {status};"
    yield from (f"  set obj.http.{name} = {quote(value)};" for name, value in fields)
    yield f"  synthetic {quote(body)};"
    yield "  return(deliver);"
    yield "}"


def _declared(plan: TargetPlan) -> set[tuple[str, str]]:
    return {(name.decode(), value.decode("ascii")) for found in plan.compiled.declared for name, value in found.fields}


def _deliver(plan: TargetPlan) -> Iterator[str]:
    yield f"# {head(plan, 'fastly')}"
    yield "# Type deliver."
    for number, (paths, declared) in enumerate(plan.declared):
        condition = f"if ({_in_paths(paths)})" if paths else ""
        yield f"{'else ' if number else ''}{condition} {{".strip()
        for name, value in declared.fields:
            text = quote(value.decode("ascii"))
            if name in REPEATABLE:
                yield f"  add resp.http.{name.decode()} = {text};"
            else:
                yield f"  if (!resp.http.{name.decode()}) {{ set resp.http.{name.decode()} = {text}; }}"
        yield "}"


def _init(plan: TargetPlan) -> Iterator[str]:
    yield f"# {head(plan, 'fastly')}"
    yield "# Type init."
    yield "acl noai_exempt {"
    for network in plan.exempt_networks:
        yield f'  "{network.network_address}"/{network.prefixlen};'
    yield "}"


def _render(plan: TargetPlan, root: str) -> list[File]:
    texts = {"init": _init(plan), "recv": _recv(plan), "error": _error(plan), "deliver": _deliver(plan)}
    return [
        File(f"fastly/noai-guard-{name}.vcl", "".join(f"{line}\n" for line in lines).encode("utf-8"))
        for name, lines in texts.items()
    ]


TARGET = ServerTarget("fastly", "Fastly", _render, proof="unchecked", specific_limitations=ordered_rules.limitations)
