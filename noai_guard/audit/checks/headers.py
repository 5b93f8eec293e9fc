"""Headers of the page, the audio and the error page, for every kind of request. Codes A201 to A217."""

from collections.abc import Iterator

from noai_guard.audit.finding import Finding, read_rules
from noai_guard.audit.interpretation import Interpretation
from noai_guard.audit.probe.result import ProbeResult
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.header_values import TRAINING
from noai_guard.audit.statements import declaring_headers, from_headers, missing_headers
from noai_guard.core.web_addresses import is_web_address

RULES = read_rules("headers")


def check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    for resource in observations.resources:
        if resource.get.ok:
            for result in (resource.get, *resource.variants):
                if result.status in (200, 206, 304):
                    yield from _values(result)
            for result in resource.variants:
                missing = missing_headers(result, resource.get)
                if missing and result.status in (206, 304):
                    yield RULES[f"not-on-{result.status}"].at(result.url, missing)
                elif missing and result.method == "HEAD" and result.ok:
                    yield RULES["not-on-head"].at(result.url, missing)
    not_found = observations.not_found
    if not_found and not_found.status == 404 and not declaring_headers(not_found):
        missing = missing_headers(not_found, observations.page.get)
        yield from [RULES["not-on-errors"].at(not_found.url, missing)] if missing else ()
    audio = observations.audio
    if audio and audio.get.ok and not audio.get.has_html_body and not interpretation.allows_training(audio):
        yield from _audio(interpretation, audio.get)
    if observations.markdown and observations.markdown.ok:
        yield from _markdown(observations.page.get, observations.markdown)


def _values(result: ProbeResult) -> Iterator[Finding]:
    directives = header_values.robots_directives(result.values("x-robots-tag"))
    if directives.hidden and not directives.plain:
        yield RULES["noai-behind-colon"].at(result.url, f"X-Robots-Tag: {directives.hidden[0]}")
    for line in directives.capitals:
        yield RULES["noai-in-capitals"].at(result.url, f"X-Robots-Tag: {line}")
    for word in directives.misspelled:
        yield RULES["noai-misspelled"].at(result.url, f"X-Robots-Tag: {word}")
    usage = ", ".join(result.values("content-usage"))
    for fault, description in header_values.content_usage_value(usage).faults if usage else ():
        rule = RULES["usage-unreadable"] if fault is header_values.Fault.SYNTAX else RULES["usage-misspelled"]
        yield rule.at(result.url, f"Content-Usage: {usage} ({description})")
    for signal in result.values("content-signal"):
        for _, description in header_values.content_signal_value(signal).faults:
            yield RULES["signal-misspelled"].at(result.url, f"Content-Signal: {signal} ({description})")
    reservations = result.values("tdm-reservation")
    for value in reservations:
        if header_values.tdm_reservation(value) is None:
            yield RULES["reservation-value"].at(result.url, f"tdm-reservation: {value}")
    for policy in result.values("tdm-policy"):
        if not any(map(header_values.tdm_reservation, reservations)) or not is_web_address(policy):
            yield RULES["policy-unused"].at(result.url, f"tdm-policy: {policy}")


def _audio(interpretation: Interpretation, audio: ProbeResult) -> Iterator[Finding]:
    page = interpretation.observations.page
    page_forms = [
        statement.form
        for statement in interpretation.statements_about(page)
        if statement.in_response and statement.usage == TRAINING and not statement.allowed
    ]
    is_silent = not any(statement.usage == TRAINING for statement in from_headers(audio))
    if page_forms and is_silent:
        yield RULES["not-on-audio"].at(audio.url, f"the page has {', '.join(page_forms)}; the audio has none")
    elif is_silent and interpretation.reserves_training_anywhere:
        yield RULES["only-in-files"].at(audio.url)
    elif missing := missing_headers(audio, page.get):
        yield RULES["less-on-audio"].at(audio.url, missing)


def _markdown(page: ProbeResult, markdown: ProbeResult) -> Iterator[Finding]:
    allowing = _forms_allowing_training(markdown)
    if allowing and not _forms_allowing_training(page):
        lines = [f"{name}: {value}" for name, value in markdown.headers if name.lower() == allowing[0].lower()]
        yield RULES["markdown-allows"].at(markdown.url, f"Accept: text/markdown is answered with {lines[0]}")
    elif markdown.media_type == "text/markdown" and (missing := missing_headers(markdown, page)):
        yield RULES["markdown-silent"].at(markdown.url, missing)


def _forms_allowing_training(result: ProbeResult) -> list[str]:
    return [statement.form for statement in from_headers(result) if statement.usage == TRAINING and statement.allowed]
