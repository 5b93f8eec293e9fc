"""One policy made ready to serve: the judge, and every byte that can be prepared before a request comes."""

import re
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from noai_guard.actions import ANSWERS
from noai_guard.catalog import Catalog
from noai_guard.declarations import STANDARDS, path_lines, robots_txt, unsaid
from noai_guard.guard import Guard
from noai_guard.memo import Memo
from noai_guard.model import Document, HeaderField, Response, Verdict
from noai_guard.policy import Plan, Policy, Section
from noai_guard.refusal import Format, body, policy_address
from noai_guard.request_path import normal_path

OPEN_PREFIX = "/.well-known/"

_REPEATABLE = frozenset({b"x-robots-tag", b"link"})
"""Fields that may stand on several lines: ours join the app's. Of the others, an app's own stands alone."""

_MEDIA_PATH = re.compile(
    r"\.(?:m3u8?|mpd|ts|m4s|cmf[avt]|mp[34]|m4[abv]|aac|oga|ogg|opus|flac|wav|aiff?|wma|weba|webm|mov|vtt)\Z",
    re.IGNORECASE,
)
_TELLS_FORMAT = frozenset({b"accept", b"range", b"icy-metadata", b"sec-fetch-dest", b"x-requested-with"})
_MEDIA_DESTINATIONS = frozenset({b"audio", b"video", b"track", b"image"})
_SCRIPT_DESTINATIONS = frozenset({b"empty", b"script", b"style", b"font"})


class Declared:
    """What every response of a section carries: header `fields`, and `tags` for the head of HTML pages.

    `watched` are the names of an app's fields that need a closer look. Both again as WSGI's native strings.
    """

    __slots__ = ("_names", "fields", "native_fields", "native_watched", "tags", "watched")

    def __init__(self, fields: tuple[HeaderField, ...], tags: bytes) -> None:
        self.fields = fields
        self.tags = tags
        self.native_fields = native(fields)
        self._names = frozenset(name for name, _ in fields)
        # ASGI wants names in lower case; some apps send them as they are usually written.
        self.watched = frozenset(
            spelling
            for name in ((*self._names, b"content-type") if fields or tags else ())
            for spelling in (name, name.title(), name.upper())
        )
        self.native_watched = frozenset(name.decode("latin-1") for name in self.watched)

    def added_to(self, headers: Iterable[HeaderField]) -> tuple[list[HeaderField], bool]:
        """A response's headers with ours (a new list), and whether it is HTML and should get tags.

        An app's own Content-Usage, tdm-reservation or tdm-policy stands, and ours of that name is left out
        (with tdm-reservation goes tdm-policy). X-Robots-Tag and Link are added on lines of their own, unless
        the app sends the very same line.
        """
        together = list(headers)
        html = own = False
        watched = self.watched
        for name, value in together:
            if name in watched:
                if name == b"content-type" or name.lower() == b"content-type":
                    html = value[:9].lower() == b"text/html" and bool(self.tags)
                else:
                    own = True
        together += self._beside(together) if own else self.fields
        return together, html

    def _beside(self, headers: list[HeaderField]) -> tuple[HeaderField, ...]:
        """Ours, without those for which an app's own stands."""
        lines = {(name.lower(), value.strip()) for name, value in headers}
        own = {name for name, _ in lines}
        return tuple(
            field
            for field in self.fields
            if (field not in lines if field[0] in _REPEATABLE else field[0] not in own)
            and not (field[0] == b"tdm-policy" and b"tdm-reservation" in own)
        )


def native(fields: Iterable[HeaderField]) -> list[tuple[str, str]]:
    """Header fields as WSGI carries them: bytes as the characters of the same numbers."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]


class Front:
    """A guard with its declarations and refusals in bytes. Never changes after it was made.

    `generated` is the day that robots.txt names as its own (ISO 8601); without it no day is named, and the same
    policy and catalogue give the same bytes.
    """

    def __init__(self, policy: Policy, catalog: Catalog, generated: str = "") -> None:
        self.policy = policy
        self._generated = generated
        self.catalog = catalog
        self.guard = Guard(policy, catalog)
        self.standards = tuple(standard for standard in STANDARDS if policy.declarations.get(standard.key) != "off"
                               and policy.declares(standard.key))  # fmt: skip
        self.documents = self._documents(self.guard.plan)
        self.declared = tuple(self._declared(section) for section in self.guard.plan.sections)
        self.refusals: Memo[tuple[Verdict, Format], Response] = Memo(self._refusal)
        self.merged_robots: Memo[bytes, Document] = Memo(self._merged_robots, most=8, heaviest=512 * 1024)
        self.merges_robots = policy.declarations.get("robots_txt", "merge") == "merge"

    def _documents(self, plan: Plan) -> dict[str, Document]:
        found = [document for standard in self.standards for document in standard.documents(plan)]
        documents = {document.path: document for document in found}
        lines = [line for standard in self.standards for line in standard.robots_lines(plan.policy)]
        site = plan.policy.site
        if "://" not in site.policy_page and site.policy_page not in documents:
            site = replace(site, policy_page="")
        self._site = site
        reserves = any(section.reserves_anything for section in plan.sections)
        says = "This site reserves its rights" if reserves else "What programs may do on this site"
        preamble = [f"{says}{f' ({site.owner})' if site.owner else ''}. Stance: {plan.policy.stance}."]
        if site.policy_page:
            preamble.append(f"In plain words: {policy_address(site)}")
        preamble.append(robots_txt.generated_line(self._generated))
        self.robots_groups = robots_txt.groups(plan, lines, tuple(documents), preamble)
        if any(standard.key == "robots_txt" for standard in self.standards):
            documents[robots_txt.PATH] = robots_txt.document(self.robots_groups)
        return documents

    @property
    def inexpressible(self) -> tuple[path_lines.Inexpressible, ...]:
        """Path patterns that robots.txt, tdmrep.json and Content-Usage leave out; the guard enforces them."""
        return path_lines.inexpressible(self.policy)

    @property
    def cannot_express(self) -> tuple[str, ...]:
        """What some declaration cannot say of this policy, in sentences; the guard does it all the same."""
        return tuple(unsaid.sentences(self.policy, self.standards, self.robots_groups))

    def _merged_robots(self, existing: bytes) -> Document:
        merged = robots_txt.merge(existing, self.robots_groups)
        return Document(robots_txt.PATH, robots_txt.MEDIA_TYPE, merged)

    def _declared(self, section: Section) -> Declared:
        if not section.reserves_anything:
            return Declared((), b"")
        fields = tuple(
            field for standard in self.standards for field in standard.header_fields(self.policy, section)
        )
        tags = (
            b"".join(tag for standard in self.standards for tag in standard.tags(self.policy, section))
            if self.policy.declares("html_meta")
            else b""
        )
        return Declared(fields, tags)

    def refusal(self, verdict: Verdict, path: str, method: str, headers: Iterable[HeaderField]) -> Response:
        """The answer to a verdict that refuses: HTML only for a person's page load, JSON where it is asked for."""
        return self.refusals[verdict, chosen_format(path, method, headers)]

    def _refusal(self, key: tuple[Verdict, Format]) -> Response:
        verdict, format = key
        answer = ANSWERS[verdict.action]
        site = self._site
        sentence = answer.sentence(verdict, site)
        content = body(format, answer.status, answer.title, sentence, verdict, site)
        headers: list[HeaderField] = [
            (b"content-type", format.value.encode("ascii")),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            (b"vary", b"User-Agent, Accept"),
            (b"x-content-type-options", b"nosniff"),
            *answer.fields(verdict, site),
        ]
        return Response(answer.status, tuple(self.declared[verdict.section].added_to(headers)[0]), content)


def chosen_format(path: str, method: str, headers: Iterable[HeaderField]) -> Format:
    """The format of a refusal: HTML for page loads only, never for media, whatever a player says it accepts."""
    accept = b""
    media = _MEDIA_PATH.search(path) is not None
    script = method not in ("GET", "HEAD")
    for name, value in headers:
        if name not in _TELLS_FORMAT:
            continue
        value = value[:1024].strip().lower()
        if name == b"accept":
            accept += value + b","
        elif name == b"sec-fetch-dest":
            media = media or value in _MEDIA_DESTINATIONS
            script = script or value in _SCRIPT_DESTINATIONS
        elif name == b"x-requested-with":
            script = script or value == b"xmlhttprequest"
        else:
            media = True
    if media or b"audio/" in accept:
        return Format.TEXT
    page, json = accept.find(b"text/html"), max(accept.find(b"application/json"), accept.find(b"+json"))
    if json >= 0 and (script or not 0 <= page < json):
        return Format.JSON
    return Format.HTML if page >= 0 and not script else Format.TEXT


def document_file(document: Document) -> str:
    """Where a document stands as a file below the site's root, relative; dot segments do not lead out of it."""
    path = normal_path(document.path)
    return (f"{path}index.html" if path.endswith("/") else path).lstrip("/")


def document_headers(document: Document) -> tuple[HeaderField, ...]:
    """The headers of a published document: cacheable for an hour, with an ETag.

    That of robots.txt is weak and does not depend on the day it was made, so that servers which were started on
    different days have the same.
    """
    content = robots_txt.undated(document.body)
    weak = "W/" if len(content) < len(document.body) else ""
    tag = sha256(content).hexdigest()[:16]
    return (
        (b"content-type", document.media_type.encode("ascii")),
        (b"content-length", b"%d" % len(document.body)),
        (b"cache-control", b"public, max-age=3600"),
        (b"etag", f'{weak}"{tag}"'.encode("ascii")),
        (b"access-control-allow-origin", b"*"),
    )


def document_answer(document: Document, method: str, headers: Iterable[HeaderField]) -> Response:
    """The complete answer to a GET or HEAD request for a document: 304 where `headers` say it is known."""
    own = document_headers(document)
    known = next((value for name, value in headers if name.lower() == b"if-none-match"), b"")
    if dict(own)[b"etag"] in known or known.strip() == b"*":
        return Response(304, tuple(field for field in own if field[0] not in (b"content-length", b"content-type")), b"")
    return Response(200, own, b"" if method == "HEAD" else document.body)
