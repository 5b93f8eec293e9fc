"""Headers of the page, the audio and the error page, for every kind of request. Codes A201 to A217."""

from collections.abc import Iterator

from noai_guard.audit.addresses import is_web_address
from noai_guard.audit.finding import Finding, Rule, Severity
from noai_guard.audit.interpretation import Interpretation, is_html_page
from noai_guard.audit.probe.result import ProbeResult, Resource
from noai_guard.audit.readers import header_values
from noai_guard.audit.readers.header_values import TRAINING
from noai_guard.audit.rule_group import RuleGroup
from noai_guard.audit.statements import declaring_headers, from_headers, missing_headers

_HIDDEN = Rule(
    "A201", Severity.ERROR,
    "noai stands on a line with a colon, so it is not read",
    "img2dataset takes what stands before the first colon of an X-Robots-Tag line for a user agent. Any colon on the "
    "line hides noai: googlebot: noarchive, noai, or max-snippet:20, or lines that a proxy joined.",
    "Send X-Robots-Tag: noai, noimageai as a line of its own, and keep proxies from joining lines.",
)  # fmt: skip
_CAPITALS = Rule(
    "A202", Severity.WARNING,
    "noai is written with capitals",
    "Spawning's datadiligence compares letter by letter and does not know NoAI.",
    "X-Robots-Tag: noai, noimageai",
)  # fmt: skip
_MISSPELLED = Rule(
    "A203", Severity.ERROR,
    "X-Robots-Tag is misspelt",
    "The words are noai and noimageai; any other spelling says nothing.",
    "X-Robots-Tag: noai, noimageai",
)  # fmt: skip
_NOT_ON_AUDIO = Rule(
    "A204", Severity.ERROR,
    "The audio does not carry what the page says",
    "The page says no to training, by header or meta, which cover the page alone. The answer with the audio says "
    "nothing, and a scraper that has its address never sees the page.",
    "Send the header lines with audio too: for every answer of the server, not for pages alone.",
)  # fmt: skip
_LESS_ON_AUDIO = Rule(
    "A205", Severity.WARNING,
    "The audio carries fewer header lines than the page",
    "Each reader looks for its own line; those who look for the missing one find nothing with the audio.",
    "Send the same declaring header lines with audio as with pages.",
)  # fmt: skip
_NOT_ON_HEAD = Rule(
    "A206", Severity.WARNING,
    "HEAD answers without the declarations of GET",
    "Some clients look with HEAD before they download; they see no reservation.",
    "Answer HEAD with the header lines of GET.",
)  # fmt: skip
_NOT_ON_PARTIAL = Rule(
    "A207", Severity.WARNING,
    "Partial answers (206) come without the declarations",
    "Audio is mostly fetched in ranges; whoever asks for a part sees no reservation.",
    "Send the header lines with 206 too (in nginx: add_header ... always).",
)  # fmt: skip
_NOT_ON_UNCHANGED = Rule(
    "A208", Severity.NOTE,
    "Answers without content (304) come without the declarations",
    "Who checks a stored copy again learns nothing new. The headers of the copy hold on.",
    "Send the header lines with 304 too.",
)  # fmt: skip
_NOT_ON_ERRORS = Rule(
    "A209", Severity.NOTE,
    "Error pages come without the declarations",
    "It shows that the lines are added to some answers only; others may lack them as well.",
    "Add the lines in front of the application (in nginx: add_header ... always).",
)  # fmt: skip
_USAGE_UNREADABLE = Rule(
    "A210", Severity.ERROR,
    "The Content-Usage header does not parse, so it says nothing",
    "The value is a dictionary of RFC 9651: keys in lower case, y or n behind =, commas between, none at the end. One "
    "mistake makes all of it unknown.",
    "Content-Usage: train-ai=n, ai-use=n, search=y",
)  # fmt: skip
_USAGE_MISSPELLED = Rule(
    "A211", Severity.ERROR,
    "The Content-Usage header says something that readers do not know",
    "Labels are train-ai, ai-use and search, values y and n (AIPREF vocab-08). Others count as not said.",
    "Content-Usage: train-ai=n, ai-use=n, search=y",
)  # fmt: skip
_SIGNAL_MISSPELLED = Rule(
    "A212", Severity.ERROR,
    "The Content-Signal header says something that readers do not know",
    "Keys are search, ai-input and ai-train with yes or no, and use with immediate, reference or full; commas between. "
    "Others count as not said.",
    "Content-Signal: search=yes, ai-input=no, ai-train=no, use=reference",
)  # fmt: skip
_RESERVATION = Rule(
    "A213", Severity.ERROR,
    "tdm-reservation is neither 1 nor 0",
    "TDMRep: any other value counts as not said.",
    "tdm-reservation: 1",
)  # fmt: skip
_POLICY = Rule(
    "A214", Severity.WARNING,
    "tdm-policy is not used",
    "It counts only beside tdm-reservation: 1, and must be an absolute address.",
    "tdm-reservation: 1 and tdm-policy: https://your.site/tdm-policy.json",
)  # fmt: skip
_MARKDOWN_ALLOWS = Rule(
    "A215", Severity.ERROR,
    "The Markdown form of the page allows training",
    "Who asks with Accept: text/markdown gets a converted page with its own signal. Cloudflare's Markdown for Agents "
    "adds content-signal: ai-train=yes by default.",
    "Switch the conversion off at the CDN, or set the header there to what the site says.",
)  # fmt: skip
_MARKDOWN_SILENT = Rule(
    "A216", Severity.WARNING,
    "The Markdown form of the page comes without the declarations",
    "Who asks with Accept: text/markdown gets the same content and sees no reservation.",
    "Send the declaring header lines with that answer too, or switch the conversion off.",
)  # fmt: skip

_ONLY_FILES = Rule(
    "A217", Severity.WARNING,
    "Only files say no; page and audio themselves carry nothing",
    "Scrapers that fetch addresses from a list read no robots.txt and no well-known file: img2dataset and Spawning's "
    "datadiligence look at header lines alone.",
    "Send X-Robots-Tag: noai, noimageai and tdm-reservation: 1 with every answer.",
)  # fmt: skip


def _check(interpretation: Interpretation) -> Iterator[Finding]:
    observations = interpretation.observations
    for resource in (observations.page, observations.audio):
        if resource and resource.get.ok:
            for result in (resource.get, *resource.variants):
                if result.status in (200, 206, 304):
                    yield from _values(result)
            yield from _variants(resource)
    not_found = observations.not_found
    if not_found and not_found.status == 404 and not declaring_headers(not_found):
        missing = missing_headers(not_found, observations.page.get)
        yield from [_NOT_ON_ERRORS.at(not_found.url, missing)] if missing else ()
    audio = observations.audio
    if audio and audio.get.ok and not is_html_page(audio.get) and not interpretation.allows_training(audio):
        yield from _audio(interpretation, audio.get)
    if observations.markdown and observations.markdown.ok:
        yield from _markdown(observations.page.get, observations.markdown)


def _values(result: ProbeResult) -> Iterator[Finding]:
    directives = header_values.robots_directives(result.values("x-robots-tag"))
    if directives.hidden and not directives.plain:
        yield _HIDDEN.at(result.url, f"X-Robots-Tag: {directives.hidden[0]}")
    for line in directives.capitals:
        yield _CAPITALS.at(result.url, f"X-Robots-Tag: {line}")
    for word in directives.misspelled:
        yield _MISSPELLED.at(result.url, f"X-Robots-Tag: {word}")
    usage = ", ".join(result.values("content-usage"))
    for fault, description in header_values.content_usage_value(usage).faults if usage else ():
        rule = _USAGE_UNREADABLE if fault is header_values.Fault.SYNTAX else _USAGE_MISSPELLED
        yield rule.at(result.url, f"Content-Usage: {usage} ({description})")
    for signal in result.values("content-signal"):
        for _, description in header_values.content_signal_value(signal).faults:
            yield _SIGNAL_MISSPELLED.at(result.url, f"Content-Signal: {signal} ({description})")
    reservations = result.values("tdm-reservation")
    for value in reservations:
        if header_values.tdm_reservation(value) is None:
            yield _RESERVATION.at(result.url, f"tdm-reservation: {value}")
    for policy in result.values("tdm-policy"):
        if not any(map(header_values.tdm_reservation, reservations)) or not is_web_address(policy):
            yield _POLICY.at(result.url, f"tdm-policy: {policy}")


def _variants(resource: Resource) -> Iterator[Finding]:
    for result in resource.variants:
        if missing := missing_headers(result, resource.get):
            if result.status == 304:
                yield _NOT_ON_UNCHANGED.at(result.url, missing)
            elif result.status == 206:
                yield _NOT_ON_PARTIAL.at(result.url, missing)
            elif result.method == "HEAD" and result.ok:
                yield _NOT_ON_HEAD.at(result.url, missing)


def _audio(interpretation: Interpretation, audio: ProbeResult) -> Iterator[Finding]:
    page = interpretation.observations.page
    page_forms = [
        statement.form
        for statement in interpretation.statements_about(page)
        if statement.in_response and statement.usage == TRAINING and not statement.allowed
    ]
    is_silent = not any(statement.usage == TRAINING for statement in from_headers(audio))
    if page_forms and is_silent:
        yield _NOT_ON_AUDIO.at(audio.url, f"the page has {', '.join(page_forms)}; the audio has none")
    elif is_silent and interpretation.reserves_training_anywhere:
        yield _ONLY_FILES.at(audio.url)
    elif missing := missing_headers(audio, page.get):
        yield _LESS_ON_AUDIO.at(audio.url, missing)


def _markdown(page: ProbeResult, markdown: ProbeResult) -> Iterator[Finding]:
    allowing = _forms_allowing_training(markdown)
    if allowing and not _forms_allowing_training(page):
        lines = [f"{name}: {value}" for name, value in markdown.headers if name.lower() == allowing[0].lower()]
        yield _MARKDOWN_ALLOWS.at(markdown.url, f"Accept: text/markdown is answered with {lines[0]}")
    elif markdown.media_type == "text/markdown" and (missing := missing_headers(markdown, page)):
        yield _MARKDOWN_SILENT.at(markdown.url, missing)


def _forms_allowing_training(result: ProbeResult) -> list[str]:
    return [statement.form for statement in from_headers(result) if statement.usage == TRAINING and statement.allowed]


RULE_GROUP = RuleGroup(
    "Header lines",
    (
        _HIDDEN, _CAPITALS, _MISSPELLED, _NOT_ON_AUDIO, _LESS_ON_AUDIO, _NOT_ON_HEAD, _NOT_ON_PARTIAL,
        _NOT_ON_UNCHANGED, _NOT_ON_ERRORS, _USAGE_UNREADABLE, _USAGE_MISSPELLED, _SIGNAL_MISSPELLED, _RESERVATION,
        _POLICY, _MARKDOWN_ALLOWS, _MARKDOWN_SILENT, _ONLY_FILES,
    ),
    _check,
)  # fmt: skip
