"""RSL licence documents, and how they are announced. Codes A421 to A430."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import Licence, ProbeResult
from noai_guard.audit.readers.rsl import ELEMENTS, USAGES, RslFile, read_rsl
from noai_guard.audit.readers.xml import Unreadable
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.declarations.rsl import MEDIA_TYPE, NAMESPACE

_NOT_FETCHED = Rule(
    "A421", Severity.WARNING,
    "A licence is announced and cannot be fetched",
    "RSL 1.0: what cannot be fetched is to be taken for unlicensed, but nobody learns the terms.",
    "Serve the document with 200 at the announced address.",
)  # fmt: skip
_NOT_XML = Rule(
    "A422", Severity.ERROR,
    "The RSL document is not XML",
    "A document that does not parse says nothing.",
    "Write it with an XML library; noai-guard build writes one.",
)  # fmt: skip
_NAMESPACE = Rule(
    "A423", Severity.ERROR,
    "The RSL document has another root or namespace",
    f"The root is rsl in the namespace {NAMESPACE}; readers skip everything else.",
    f'<rsl xmlns="{NAMESPACE}">',
)  # fmt: skip
_WORDS = Rule(
    "A424", Severity.ERROR,
    "The RSL document names usages that do not exist",
    f"Usages are {', '.join(sorted(USAGES))}, with blanks between. Commas were used until version 0.9; with them, and "
    "with other words, nothing is said.",
    '<prohibits type="usage">ai-all</prohibits>',
)  # fmt: skip
_ELEMENT = Rule(
    "A425", Severity.WARNING,
    "The RSL document has an element that RSL does not know",
    "An unknown element in RSL's own namespace makes the document non-conformant; strict readers discard it.",
    "Remove it, or give it a namespace of its own.",
)  # fmt: skip
_TYPE = Rule(
    "A426", Severity.WARNING,
    "The RSL document is not sent with its media type",
    f"Readers look for {MEDIA_TYPE}.",
    f"Content-Type: {MEDIA_TYPE}",
)  # fmt: skip
_PLAIN_HTTP = Rule(
    "A427", Severity.WARNING,
    "The licence of a site served over https is fetched over http",
    "RSL 1.0 wants https; others could change the terms on the way.",
    "License: https://your.site/license.xml",
)  # fmt: skip
_UNLICENSED = Rule(
    "A428", Severity.WARNING,
    "A content element has no license",
    "RSL 1.0 wants at least one; without it the element says nothing.",
    '<content url="/"><license><prohibits type="usage">ai-all</prohibits></license></content>',
)  # fmt: skip
_UNANNOUNCED = Rule(
    "A429", Severity.WARNING,
    "There is a licence document that nothing leads to",
    "Crawlers find it by License in robots.txt, a Link header or an HTML link; nobody guesses its address.",
    "License: https://your.site/license.xml (robots.txt), or Link: </license.xml>; rel=\"license\"; "
    f'type="{MEDIA_TYPE}"',
)  # fmt: skip
_TOKEN = Rule(
    "A430", Severity.NOTE,
    "The licence names a server, so every client must fetch a token first",
    "With a server attribute even what is free needs a token from that server (RSL 1.0).",
    "Leave server out, unless such a server runs.",
)  # fmt: skip


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    is_secure = interpretation.observations.page.get.url.startswith("https:")
    for licence in interpretation.observations.licences:
        result = licence.result
        if licence.announced_by and not result.ok:
            yield _NOT_FETCHED.at(result.requested_url, f"{licence.announced_by} leads there: {result.failure}")
        elif result.ok:
            if is_secure and licence.announced_by and "http:" in (result.requested_url[:5], result.url[:5]):
                yield _PLAIN_HTTP.at(result.requested_url, f"{licence.announced_by} leads there")
            yield from _document(licence)


def _document(licence: Licence) -> Iterator[Finding]:
    result = licence.result
    try:
        document = read_rsl(result.body)
    except Unreadable as error:
        if licence.announced_by:
            yield _NOT_XML.at(result.url, str(error))
        return
    if not document.is_rsl:
        root = document.elements[0]
        if licence.announced_by or root.name == "rsl":
            yield _NAMESPACE.at(result.url, f"{root.name} in {root.namespace or 'no namespace'}", root.line)
        return
    if not licence.announced_by:
        yield _UNANNOUNCED.at(result.url)
    if result.media_type != MEDIA_TYPE:
        yield _TYPE.at(result.url, f"Content-Type: {result.first('content-type') or 'not sent'}")
    yield from _elements(result, document)


def _elements(result: ProbeResult, document: RslFile) -> Iterator[Finding]:
    for rule in document.rules:
        unknown = sorted(set(rule.text.replace(",", " ").split()) - USAGES)
        if "," in rule.text or unknown:
            yield _WORDS.at(result.url, f"<{rule.name}>{' '.join(rule.text.split())}</{rule.name}>", rule.line)
    for element in document.elements:
        if element.namespace == NAMESPACE and element.name not in ELEMENTS:
            yield _ELEMENT.at(result.url, f"<{element.name}>", element.line)
        elif element.namespace == NAMESPACE and element.name == "content" and "server" in element.attributes:
            yield _TOKEN.at(result.url, f'server="{element.attributes["server"]}"', element.line)
    for element in document.unlicensed:
        yield _UNLICENSED.at(result.url, f'<content url="{element.attributes.get("url", "")}">', element.line)


RULE_GROUP = RuleGroup(
    "RSL licence",
    (
        _NOT_FETCHED, _NOT_XML, _NAMESPACE, _WORDS, _ELEMENT, _TYPE, _PLAIN_HTTP, _UNLICENSED, _UNANNOUNCED, _TOKEN,
    ),
    _check,
)  # fmt: skip
