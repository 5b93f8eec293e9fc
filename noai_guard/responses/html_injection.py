"""Injection of tags into the head of an HTML response while it streams.

Three pure pieces for the ASGI and WSGI middleware: `injectable` decides if a response may be changed,
`rewritten_headers` removes headers that the change makes false, `TagInjector` changes the body. If there is no
safe position for the tags, the body is sent unchanged, and only the header fields declare the policy.

Sources: WHATWG HTML 13.2.5 and 13.2.6 (tokenization, tree construction) and 13.2.3.2 (prescan of the first
1024 bytes), WHATWG Encoding 4.2 (labels), RFC 9110 and RFC 9530; read 2026-11-23.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Literal, get_args

from noai_guard.responses.header_fields import spellings

Headers = Iterable[tuple[bytes, bytes]]
Outcome = Literal["pending", "injected", "present", "no-place"]
Reason = Literal["content-type", "status", "charset", "content-encoding", "content-range", "no-transform", "fragment"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
REASONS: tuple[Reason, ...] = get_args(Reason)

SEARCH_LIMIT = 64 * 1024
"""Bytes of the document within which its first content must begin; after that the outcome is `no-place`."""

HOLD_LIMIT = 1024
"""Bytes after the start of the head that are examined: at most this plus the length of the tags is held back."""

PRESCAN_LENGTH = 1024
"""Bytes in which a browser looks for a charset declaration if Content-Type names none."""

_LONGEST_NAME = len(b"<frameset ")
"""Bytes of the longest tag name by which the content of a head is told from what is before it."""

_MAX_BEGINNINGS = 8
"""Beginnings of pages that are remembered."""

_SPACE = rb"[\t\n\f\r ]"
_NAME_END = rb"(?=[\t\n\f\r />])"
# The rest of a tag after its name, up to its `>`. Only single-character repeats are possessive: CPython before 3.11.5
# mishandles possessive groups that backtrack (gh-106052). No part can begin with `>`, so it stays linear.
_REST = (
    rb"(?:[\t\n\f\r /]++"
    rb"|[^\t\n\f\r />][^\t\n\f\r />=]*+"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r \"'>][^\t\n\f\r >]*+|(?=>))"
    rb"|(?![\t\n\f\r ]*+=)))*>"
)
_BREAKS_OUT = rb"(?:head|body|html|br)"  # end tags that act before or in a head; others are ignored
_IGNORED = (
    rb"<!--(?:-?>|(?:[^-]++|-(?!-!?>))*--!?>)"
    rb"|<(?:\?|!(?!--)|/(?![a-z]))[^>]*+>"
    rb"|</(?!" + _BREAKS_OUT + _NAME_END + rb")[a-z][^\t\n\f\r />]*+" + _REST
)
_COMMENT = rb"<!--(?:-?>|(?:[^-]++|-(?!-!?>))*--!?>)"
# The prologue is read token by token, and an unfinished one from where reading stopped: linear, whatever the chunks.
_BLANKS = re.compile(rb"(?:\A\xef\xbb\xbf)?" + _SPACE + rb"*+")
_TOKEN = re.compile(
    rb"(?i)(?P<comment><!--)|(?P<plain><\?|<!(?!--|-?\Z)|</(?![a-z]|\Z))"
    rb"|(?P<tag><(?:html|head)" + _NAME_END
    + rb"|</(?!" + _BREAKS_OUT + _NAME_END + rb")[a-z][^\t\n\f\r />]*+" + _NAME_END + rb")"
)  # fmt: skip
_DOCUMENT_TOKEN = re.compile(rb"(?i)<(?:!doctype|html" + _NAME_END + rb")")
_HEAD_TOKEN = re.compile(rb"(?i)<head" + _NAME_END)
_COMMENT_AT_ONCE = re.compile(rb"-?>")
_COMMENT_END = re.compile(rb"--!?>")
_TAG_END = re.compile(_REST)
_VALUE = _REST.removesuffix(b">") + rb"[^\t\n\f\r />][^\t\n\f\r />=]*+[\t\n\f\r ]*+=[\t\n\f\r ]*+"
_OPEN_QUOTE = re.compile(_VALUE + rb"(?:(\")[^\"]*+|(')[^']*+)\Z")
_LAST_QUOTED = re.compile(_VALUE + rb"(?:\"[^\"]*+\"|'[^']*+')")
# No HTML element name is longer than 16 bytes, so there is no need to wait for the end of a longer one.
_UNDECIDED = re.compile(rb"(?i)(?:</?(?:[a-z][^\t\n\f\r />]{0,15})?|\A\xef\xbb?)?\Z")
_UNFINISHED = re.compile(rb"(?i)<(?:[!?]|(?:html|head)" + _NAME_END + rb"|/(?!" + _BREAKS_OUT + _NAME_END + rb"))")
_DOCUMENT_START = re.compile(rb"(?i)<(?:title|meta|base|body|frameset)" + _NAME_END)

_VOID = rb"(?:base|basefont|bgsound|link|meta)"
_RAW = rb"(?:title|style|script|noframes)"
# A script that contains `<!--` may continue after its first end tag: it does not match, and so ends the search.
_HEAD_ITEM = re.compile(
    rb"(?i)" + _SPACE + rb"*+(" + _IGNORED + rb"|<" + _VOID + _NAME_END + _REST
    + rb"|<(" + _RAW + rb")" + _NAME_END + _REST
    + rb"(?:[^<]++|<(?!!--|/\2" + _NAME_END + rb"))*</\2" + _NAME_END + _REST + rb")"
)  # fmt: skip
# `template` and `noscript` end the search too: a tag after them may belong to them or to the body.
_HEAD_END = re.compile(
    rb"(?i)" + _SPACE + rb"*+(?:[^<]|<(?:[^a-z!?/]|/" + _BREAKS_OUT + _NAME_END
    + rb"|(?!(?:" + _VOID + rb"|" + _RAW + rb")" + _NAME_END + rb")[a-z][^\t\n\f\r />]*+" + _NAME_END + rb"))"
)  # fmt: skip
# For lower-case bytes. Some browsers take a declaration from a tag whose end they have not received yet.
_META = re.compile(rb"(?s)<meta" + _NAME_END + rb"(?:" + _REST + rb"|.*\Z)")
_DECLARATION = re.compile(
    rb"<meta[\t\n\f\r ]++(?:charset=([\"']?)([^\t\n\f\r \"'>]++)\1" + _NAME_END
    + rb"|http-equiv=([\"']?)content-type\3[\t\n\f\r ]++"
    + rb"content=([\"'])text/html; ?charset=([^\t\n\f\r \"'>;]++)\4)"
)  # fmt: skip
# What may stand before a leading declaration, and the declaration, where Content-Type names the charset.
_BEFORE_CONTENT = re.compile(rb"(?:[\t\n\f\r ]++|" + _COMMENT + rb")*")
_META_TAG = re.compile(rb"(?i)<meta" + _NAME_END + _REST)
_PERHAPS_DECLARATION = re.compile(rb"(?is)<(?:!(?:-(?:-.*)?)?|m(?:e(?:t(?:a(?:[\t\n\f\r />].*)?)?)?)?)?\Z")
_ATTRIBUTE = re.compile(
    rb"([^\t\n\f\r />][^\t\n\f\r />=]*+)"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:\"([^\"]*+)\"|'([^']*+)'|([^\t\n\f\r \"'>][^\t\n\f\r >]*+))?)?"
)
_HTML = re.compile(rb"text/html[\t ]*+(?:;[^,]*+)?\Z")  # a comma would join two fields
_CHARSET = re.compile(rb"(?i)charset[\t ]*+(?:=[\t ]*+\"?[\t ]*+([^\t \",;]*+))?")

# Labels of the encodings in which ASCII bytes are always ASCII text: the table of WHATWG Encoding 4.2
# without UTF-16, ISO-2022-JP and the replacement encoding (HZ, ISO-2022-KR, ISO-2022-CN); 2026-11-23.
_ASCII_COMPATIBLE = frozenset(
    b"""
    866 ansi_x3.4-1968 arabic ascii asmo-708 big5 big5-hkscs chinese cn-big5 cp1250 cp1251 cp1252 cp1253
    cp1254 cp1255 cp1256 cp1257 cp1258 cp819 cp866 csbig5 cseuckr cseucpkdfmtjapanese csgb2312 csibm866
    csiso58gb231280 csiso88596e csiso88596i csiso88598e csiso88598i csisolatin1 csisolatin2 csisolatin3
    csisolatin4 csisolatin5 csisolatin6 csisolatin9 csisolatinarabic csisolatincyrillic csisolatingreek
    csisolatinhebrew cskoi8r csksc56011987 csmacintosh csshiftjis cyrillic dos-874 ecma-114 ecma-118
    elot_928 euc-jp euc-kr gb18030 gb2312 gb_2312 gb_2312-80 gbk greek greek8 hebrew ibm819 ibm866
    iso-8859-1 iso-8859-10 iso-8859-11 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 iso-8859-2 iso-8859-3
    iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-8859-7 iso-8859-8 iso-8859-8-e
    iso-8859-8-i iso-8859-9 iso-ir-100 iso-ir-101 iso-ir-109 iso-ir-110 iso-ir-126 iso-ir-127 iso-ir-138
    iso-ir-144 iso-ir-148 iso-ir-149 iso-ir-157 iso-ir-58 iso8859-1 iso8859-10 iso8859-11 iso8859-13
    iso8859-14 iso8859-15 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9
    iso88591 iso885910 iso885911 iso885913 iso885914 iso885915 iso88592 iso88593 iso88594 iso88595 iso88596
    iso88597 iso88598 iso88599 iso_8859-1 iso_8859-15 iso_8859-1:1987 iso_8859-2 iso_8859-2:1987 iso_8859-3
    iso_8859-3:1988 iso_8859-4 iso_8859-4:1988 iso_8859-5 iso_8859-5:1988 iso_8859-6 iso_8859-6:1987
    iso_8859-7 iso_8859-7:1987 iso_8859-8 iso_8859-8:1988 iso_8859-9 iso_8859-9:1989 koi koi8 koi8-r koi8-ru
    koi8-u koi8_r korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 l1 l2 l3 l4 l5 l6 l9 latin1 latin2
    latin3 latin4 latin5 latin6 logical mac macintosh ms932 ms_kanji shift-jis shift_jis sjis sun_eu_greek
    tis-620 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 us-ascii utf-8 utf8 visual windows-1250
    windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 windows-1258
    windows-31j windows-874 windows-949 x-cp1250 x-cp1251 x-cp1252 x-cp1253 x-cp1254 x-cp1255 x-cp1256
    x-cp1257 x-cp1258 x-euc-jp x-gbk x-mac-cyrillic x-mac-roman x-mac-ukrainian x-sjis x-unicode20utf8
    x-user-defined x-x-big5
    """.split()
)

_DOCUMENT_DESTINATIONS = frozenset(b"document iframe frame embed object fencedframe".split())
REQUEST_FIELDS = frozenset(
    b"sec-fetch-dest x-requested-with hx-request turbo-frame x-pjax x-inertia x-up-version x-alpine-request"
    b" x-livewire datastar-request".split()
)
"""Request fields that are read. With these, scripts ask for a part of a page: htmx, Turbo, pjax, Inertia, Unpoly,
Alpine AJAX, Livewire, Datastar. Of the first two the value counts, of the others the presence."""
_PAGE_LOAD = (b"sec-fetch-dest", b"document")
_name = itemgetter(0)

_RESPONSE_FIELDS = spellings(b"content-type content-encoding content-range cache-control".split())
_REWRITTEN_FIELDS = spellings(
    b"etag ETag content-length digest content-digest repr-digest content-md5 Content-MD5 accept-ranges".split()
)
LOOKED_AT = _RESPONSE_FIELDS | _REWRITTEN_FIELDS
"""Names, in the usual spellings, of response fields that say whether and how a body may be changed."""


def injectable(status: int, headers: Headers, request_headers: Headers = ()) -> Reason | None:
    """Return None if tags may be injected into this response to a GET or HEAD, else the reason against it.

    Only a 200 is changed: 206 is a part, 204, 205 and 304 have no body, and the pages of redirects and errors
    contain nothing that is reserved. It must be `text/html`, in a charset that contains ASCII, without content
    encoding. Unclear responses (two media types, an unknown charset) are not injectable. Of the request, the fields
    with which scripts ask for fragments are read (`REQUEST_FIELDS`). Names of request fields are lower case, those
    of the response in any usual case. Iterables are read once.
    """
    content_types = []
    reasons: set[Reason] = set()
    for name, value in headers:
        if name not in _RESPONSE_FIELDS:
            continue
        field = name.lower()
        if field == b"content-type":
            content_types.append(value)
        elif field == b"content-encoding":
            if value.strip().lower() not in (b"", b"identity"):
                reasons.add("content-encoding")
        elif field == b"content-range":
            reasons.add("content-range")
        elif b"no-transform" in value.lower():
            reasons.add("no-transform")
    if len(content_types) != 1:
        return "content-type"
    html, labels = _read_content_type(content_types[0])
    if not html:
        return "content-type"
    if status != 200:
        return "status"
    if not _ASCII_COMPATIBLE.issuperset(labels):
        return "charset"
    if reasons:
        return min(reasons, key=REASONS.index)
    return "fragment" if asks_for_fragment(list(request_headers)) else None


# Apps send few different values, and matching the two patterns costs more than the rest of `injectable`.
@lru_cache(maxsize=64)
def _read_content_type(value: bytes) -> tuple[bool, tuple[bytes, ...]]:
    """Return (is HTML, every charset label in it); a charset without a label gives b""."""
    lowered = value.strip().lower()
    return _HTML.match(lowered) is not None, tuple(_CHARSET.findall(lowered))


def _asks_for_fragment(field: tuple[bytes, bytes]) -> bool:
    name, value = field
    if name == b"sec-fetch-dest":
        return value.strip().lower() not in _DOCUMENT_DESTINATIONS
    # Android WebViews send the name of their app in X-Requested-With when they open a page.
    if name == b"x-requested-with":
        return value.strip().lower() == b"xmlhttprequest"
    return name in REQUEST_FIELDS


@lru_cache(maxsize=64)
def is_usual_page(content_type: bytes) -> bool:
    """Return True for the Content-Type of a page that names a charset in which ASCII bytes are ASCII text."""
    html, labels = _read_content_type(content_type)
    return html and bool(labels) and _ASCII_COMPATIBLE.issuperset(labels)


def asks_for_fragment(request_headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Return True if a script asks for a part of a page (`REQUEST_FIELDS`).

    A browser that loads a page says so itself, which no script can (Fetch 2.2.2: names that begin with `Sec-` are
    forbidden to it; read 2026-11-29): the one comparison settles nearly all pages, and none of them hashes a name.
    """
    if _PAGE_LOAD in request_headers or REQUEST_FIELDS.isdisjoint(map(_name, request_headers)):
        return False
    return any(map(_asks_for_fragment, request_headers))


def has_charset(headers: Headers) -> bool:
    """Return True if Content-Type names a charset, so that browsers do not look for one in the document."""
    values = (value for name, value in headers if name in _RESPONSE_FIELDS and name.lower() == b"content-type")
    return any(_read_content_type(value)[1] for value in values)


def rewritten_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return a new list of the fields that stay true for a body that may be changed, in the same order.

    Dropped are Content-Length, the digests of RFC 9530, RFC 3230 and Content-MD5, and Accept-Ranges, because its
    offsets are those of another body. A strong ETag becomes weak, a malformed one is dropped. Use it for GET and
    HEAD alike, so that both send the same headers.

    If-None-Match of the request can stay: it is compared weakly (RFC 9110 13.1.2), so `W/"x"` still matches the
    app's `"x"` and gives its 304. If-Range and If-Match compare strongly and no longer match, which is right: a
    range of the unchanged bytes must not complete a changed copy.
    """
    kept = []
    for field in headers:
        if field[0] not in _REWRITTEN_FIELDS:
            kept.append(field)
        elif field[0].lower() == b"etag":
            tag = field[1].strip()
            if tag.startswith(b'"'):
                tag = b"W/" + tag
            if tag.startswith(b'W/"'):
                kept.append((field[0], tag))
    return kept


class TagInjector:
    """Stream filter that inserts `tags` into the head of one HTML document, fed in chunks of any size.

    `tags` are the bytes of complete `meta` or `link` elements. They are inserted directly after `<head>`, or where
    the parser begins the implied head: before the first content of a document without one. A body that does not begin
    like a document, or has no safe position, is not changed. The position depends on the bytes only, not on the
    chunks. Feeding the output to an injector of the same kind changes nothing.

    If Content-Type names a charset (`has_charset`), the tags go after a charset declaration that is the first element
    of the head (AMP wants it there), and are known to be there already only at that position. Otherwise a declaration
    in the first 1024 bytes stays there, so the tags go after it.

    Bytes before the position are returned at once. After the start of the head at most `HOLD_LIMIT` bytes and the
    length of the tags are held back; with `has_charset` only while they may become a leading declaration or the tags.
    Once `outcome` is not "pending", chunks are returned as they are.
    """

    __slots__ = (
        "_attributes", "_data", "_document", "_has_charset", "_quote", "_resume", "_scanned", "_sent", "_start",
        "_tags", "_token", "_unfinished", "decisive", "outcome", "position",
    )  # fmt: skip

    def __init__(self, tags: bytes, *, has_charset: bool = False) -> None:
        self.outcome: Outcome = "pending" if tags else "present"
        self._tags = tags
        self._has_charset = has_charset
        self._data = bytearray()  # the document so far
        self._sent = 0  # number of bytes of it that were returned
        self._resume = 0  # start of the next token of the prologue
        self._unfinished = False  # that token is known to be before the head
        self._token = ""  # its kind, once known
        self._scanned = 0  # number of bytes in which its end was looked for
        self._attributes = 0  # in a tag: start of the first attribute that is not known to be complete
        self._quote = b""  # in a tag: the quote that is open at `_scanned`
        self._document = False  # a doctype or <html> was seen
        self._start = -1  # start of the content of the head, once known
        self.decisive = 0
        """Bytes at the start of the document that decide the position of the tags, whatever follows; 0 if not known."""
        self.position = 0
        """Where the tags were inserted."""

    def feed(self, chunk: bytes, last: bool) -> bytes:
        """Take the next bytes of the body and return those to send now, everything that is left if `last`."""
        if self.outcome != "pending":
            return chunk
        data: bytes | bytearray
        if self._data:
            data = self._data
            data += chunk
        else:
            data = bytes(chunk)  # no copy of bytes
        sent = self._sent
        offset = self._skip_prologue(data, last) if self._start < 0 else self._start
        if self._start >= 0:
            choose = self._choose_early if self._has_charset else self._choose_position
            offset = choose(data, last)
        if self.outcome == "pending":
            if data is not self._data:
                self._data = bytearray(data)
            self._sent = offset
            return bytes(data[sent:offset])
        self._data = bytearray()
        if self.outcome == "injected":
            self.position = offset
            view = memoryview(data)  # the tail is copied once
            return b"".join((view[sent:offset], self._tags, view[offset:]))
        return bytes(data[sent:])

    def give_up(self, chunk: bytes) -> bytes:
        """Return what is left to be sent after `feed` has failed on this chunk: the page as it was."""
        self.outcome = "no-place"
        rest = bytes(self._data[self._sent :]) if self._data else chunk
        self._data = bytearray()
        return rest

    def _skip_prologue(self, data: bytes | bytearray, last: bool) -> int:
        """Set the start of the head if it is in `data`; return the number of bytes that are surely before it."""
        ended = last or len(data) > SEARCH_LIMIT
        end = min(len(data), SEARCH_LIMIT)
        # Every token of the prologue ends with `>`: without a new one, looking again is useless.
        if self._unfinished and not ended and data.find(b">", self._sent) < 0:
            return len(data)
        start, in_head = self._resume, False
        while not in_head:
            if not self._token:
                start = self._resume = _BLANKS.match(data, start, end).end()  # type: ignore[union-attr]
                token = _TOKEN.match(data, start, end)
                if token is None:
                    break
                self._token = token.lastgroup or ""
                self._scanned = self._attributes = token.end()
            stop = self._end_of_token(data, end)
            if stop < 0:
                break
            self._document = self._document or _DOCUMENT_TOKEN.match(data, start) is not None
            in_head = _HEAD_TOKEN.match(data, start) is not None
            self._token, start = "", stop
        self._resume = start
        self._unfinished = False
        if not in_head:
            if _UNDECIDED.match(data, start, end):
                if not ended:
                    return start
                if start < len(data) or not self._document:
                    self.outcome = "no-place"
                    return start
            elif _UNFINISHED.match(data, start):
                if not ended:
                    self._unfinished = True
                    return len(data)
                self.outcome = "no-place"
                return start
            elif not self._document and not _DOCUMENT_START.match(data, start):
                self.outcome = "no-place"
                return start
        self._start = start
        return start

    def _end_of_token(self, data: bytes | bytearray, end: int) -> int:
        """Return the end of the token at `_resume`, or -1. It goes on where it stopped the last time."""
        scanned, self._scanned = self._scanned, end
        if self._token == "plain":
            return data.find(b">", scanned, end) + 1 or -1
        if self._token == "comment":
            begin = self._resume + 4
            match = _COMMENT_AT_ONCE.match(data, begin, end) or _COMMENT_END.search(data, max(begin, scanned - 3), end)
            return match.end() if match else -1
        if self._quote:
            closed = data.find(self._quote, scanned, end) + 1
            if not closed:
                return -1
            self._quote, self._attributes = b"", closed
        if match := _TAG_END.match(data, self._attributes, end):
            return match.end()
        # A `>` that does not end the tag is in a quoted value, and that is closed or not.
        if match := _OPEN_QUOTE.match(data, self._attributes, end):
            self._quote = match[1] or match[2]
        elif match := _LAST_QUOTED.match(data, self._attributes, end):
            self._attributes = match.end()
        return -1

    def _choose_early(self, data: bytes | bytearray, last: bool) -> int:
        """Set the outcome; return the position of the tags or, while pending, the number of bytes that may be sent.

        The position is the start of the head, or the end of a charset declaration that is the first element there.
        """
        tags, insertion = self._tags, self._start
        limit = insertion + HOLD_LIMIT
        position = _BEFORE_CONTENT.match(data, insertion, limit).end()  # type: ignore[union-attr]
        perhaps_declared = _PERHAPS_DECLARATION.match(data, position) is not None and len(data) < limit
        meta = _META_TAG.match(data, position, limit)
        if meta is None:
            decided = position + _LONGEST_NAME
            if len(data) >= decided and data[position : position + 5].lower() != b"<meta":
                self.decisive = decided
        elif not data.startswith(tags, position):
            perhaps_declared = False
            self.decisive = meta.end()
            if _is_declaration(meta[0]):
                insertion = meta.end()
                position = _BLANKS.match(data, insertion, limit).end()  # type: ignore[union-attr]
        if data.startswith(tags, position):
            self.outcome = "present"
        elif last or not (perhaps_declared or tags.startswith(data[position : position + len(tags)])):
            self.outcome = "injected"
        return insertion

    def _choose_position(self, data: bytes | bytearray, last: bool) -> int:
        """Set the outcome; return the position of the tags or, while pending, the number of bytes that may be sent.

        The position is the start of the head, or the end of one of its first items.
        """
        start, tags = self._start, self._tags
        limit = start + HOLD_LIMIT
        end = limit + len(tags)
        whole = last or len(data) >= end
        prescanned = bytes(data[:PRESCAN_LENGTH]).lower()
        charset = prescanned.rfind(b"charset", start)
        declaration = prescanned.rfind(b"<meta", start, max(charset, 0))
        # If all bytes are there, only those up to the last relevant item need to be read.
        reach = max(declaration, data.rfind(tags, start, end)) if whole else end
        insertion = position = start
        declared = False
        while position <= reach:
            item = _HEAD_ITEM.match(data, position, end)
            if item is None:
                break
            item_start, item_end = item.span(1)
            if data.startswith(tags, item_start):
                self.outcome = "present"
                return start
            if item_end > limit:
                break
            if item_start <= declaration and _may_declare_charset(prescanned, item_start, item_end):
                insertion = item_end
                declared = declared or _declares_charset(prescanned, item_start)
            position = item_end
        if not whole:
            settled = declared or len(data) >= PRESCAN_LENGTH
            if not settled or not _HEAD_END.match(data, position):
                return start
        if not declared and position <= declaration:
            # The declaration is further down, perhaps in the body: it must not be pushed out of the prescanned bytes.
            for meta in _META.finditer(prescanned, position):
                if meta.end() + len(tags) > PRESCAN_LENGTH and b"charset" in meta[0]:
                    self.outcome = "no-place"
                    return start
        self.outcome = "injected"
        return insertion


class PageTags:
    """Inserts `tags` into complete pages whose charset Content-Type names, as TagInjector does.

    The pages of a site begin alike, and the position of the tags depends on their first bytes only, as it does whether
    they are there already: for a beginning that was seen before nothing is searched again.
    """

    __slots__ = ("_positions", "_tags")

    def __init__(self, tags: bytes) -> None:
        self._tags = tags
        self._positions: dict[bytes, int] = {}

    def inserted(self, page: bytes) -> tuple[bytes, Outcome]:
        """Return the page with the tags, and what became of them."""
        tags, positions = self._tags, self._positions
        for beginning, position in positions.items():
            if page.startswith(beginning):
                return b"".join((page[:position], tags, page[position:])), "injected"
        injector = TagInjector(tags, has_charset=True)
        result = injector.feed(page, last=True)
        if injector.outcome == "injected" and injector.decisive:
            # The beginning goes on to where the page differs from the tags, so that no page with it has them there.
            at = _BLANKS.match(page, injector.position).end()  # type: ignore[union-attr]
            pairs = enumerate(zip(tags, page[at : at + len(tags)], strict=False), at + 1)
            differs = next((end for end, (ours, theirs) in pairs if ours != theirs), 0)
            if differs:
                if len(positions) >= _MAX_BEGINNINGS:
                    positions = self._positions = {}
                self._positions = {**positions, page[: max(injector.decisive, differs)]: injector.position}
        return result, injector.outcome


def _is_declaration(meta: bytes) -> bool:
    """Return True if a meta tag names a charset."""
    attributes: dict[bytes, bytes] = {}
    for match in _ATTRIBUTE.finditer(meta, len(b"<meta")):
        attributes.setdefault(match[1].lower(), (match[2] or match[3] or match[4] or b"").lower())
    is_content_type = attributes.get(b"http-equiv", b"").strip() == b"content-type"
    return b"charset" in attributes or (is_content_type and b"charset" in attributes.get(b"content", b""))


def _may_declare_charset(prescanned: bytes, start: int, end: int) -> bool:
    """Return True if a prescan, which reads scripts and titles but not comments, may see a declaration here."""
    meta = prescanned.find(b"<meta", start, end)
    return meta >= 0 and prescanned.find(b"charset", meta, end) >= 0 and prescanned[start + 1] != ord("!")


def _declares_charset(prescanned: bytes, start: int) -> bool:
    """Return True if the item is a valid declaration in a common form, so that no later one counts."""
    declaration = _DECLARATION.match(prescanned, start)
    return declaration is not None and (declaration[2] or declaration[5]) in _ASCII_COMPATIBLE
