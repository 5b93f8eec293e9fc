"""RSL licence documents, and how they are announced. Codes A421 to A430."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import Licence
from noai_guard.audit.readers.rsl import ELEMENTS, USAGES, RslFile
from noai_guard.audit.readers.xml import Unreadable
from noai_guard.declarations.rsl import MEDIA_TYPE, NAMESPACE

RULES = read_rules("rsl", media_type=MEDIA_TYPE, namespace=NAMESPACE, usages=", ".join(sorted(USAGES)))


def check(interpretation: Interpretation) -> Iterator[Finding]:
    is_secure = interpretation.observations.page.get.url.startswith("https:")
    for licence in interpretation.observations.licences:
        result = licence.result
        if licence.announced_by and not result.ok:
            yield RULES["not-fetched"].at(result.requested_url, f"{licence.announced_by} leads there: {result.failure}")
        elif result.ok:
            if is_secure and licence.announced_by and "http:" in (result.requested_url[:5], result.url[:5]):
                yield RULES["plain-http"].at(result.requested_url, f"{licence.announced_by} leads there")
            yield from _document(licence)


def _document(licence: Licence) -> Iterator[Finding]:
    result = licence.result
    try:
        document = RslFile(result.body)
    except Unreadable as error:
        if licence.announced_by:
            yield RULES["not-xml"].at(result.url, str(error))
        return
    if not document.is_rsl:
        root = document.elements[0]
        if licence.announced_by or root.name == "rsl":
            yield RULES["wrong-root"].at(result.url, f"{root.name} in {root.namespace or 'no namespace'}", root.line)
        return
    if not licence.announced_by:
        yield RULES["unannounced"].at(result.url)
    if result.media_type != MEDIA_TYPE:
        yield RULES["media-type"].at(result.url, result.content_type_line)
    for rule in document.rules:
        if "," in rule.text or not USAGES.issuperset(rule.text.split()):
            text = f"<{rule.name}>{' '.join(rule.text.split())}</{rule.name}>"
            yield RULES["unknown-usage"].at(result.url, text, rule.line)
    for element in document.elements:
        if element.namespace == NAMESPACE and element.name not in ELEMENTS:
            yield RULES["unknown-element"].at(result.url, f"<{element.name}>", element.line)
        elif element.namespace == NAMESPACE and element.name == "content" and "server" in element.attributes:
            yield RULES["token-needed"].at(result.url, f'server="{element.attributes["server"]}"', element.line)
    for element in document.unlicensed:
        yield RULES["unlicensed"].at(result.url, f'<content url="{element.attributes.get("url", "")}">', element.line)
