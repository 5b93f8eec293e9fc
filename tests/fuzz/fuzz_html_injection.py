"""Fuzz the HTML injector: `python tests/fuzz/fuzz_html_injection.py -max_total_time=60` (needs atheris).

The first input byte sets whether the charset is known, the next two where the document is cut, the rest is
the document. Nothing may be lost or reordered, cuts may not matter, a second run may change nothing.
"""

import pathlib
import sys

import atheris

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

with atheris.instrument_imports(include=["noai_guard.responses.html_injection"]):
    from noai_guard.responses.html_injection import HOLD_LIMIT, REASONS, TagInjector, injectable, rewritten_headers

TAGS = b'<meta name="robots" content="noai, noimageai"><meta name="tdm-reservation" content="1">'


def inject(pieces: list[bytes], known: bool) -> tuple[bytes, str]:
    injector = TagInjector(TAGS, has_charset=known)
    sent = b""
    fed = 0
    for piece in pieces:
        sent += injector.feed(piece, False)
        fed += len(piece)
        held = fed - len(sent) + len(TAGS) * (injector.outcome == "injected")
        assert 0 <= held <= HOLD_LIMIT + len(TAGS), held
    return sent + injector.feed(b"", True), injector.outcome


def check(data: bytes) -> None:
    known = bool(data[:1] and data[0] & 1)
    document = data[3:].replace(b"@", TAGS)
    first, second = sorted(int(cut / 255 * len(document)) for cut in data[1:3].ljust(2, b"\0"))
    output, outcome = inject([document], known)
    assert inject([document[:first], document[first:second], document[second:]], known) == (output, outcome)
    if outcome == "injected":
        assert len(output) == len(document) + len(TAGS)
        place = next(i for i, (a, b) in enumerate(zip(document + b"\0", output, strict=False)) if a != b)
        starts = (output.rfind(TAGS, 0, place + len(TAGS)), output.find(TAGS, max(0, place - len(TAGS))))
        assert any(i >= 0 and output[:i] + output[i + len(TAGS) :] == document for i in starts)
    else:
        assert output == document
    assert inject([output], known)[0] == output
    headers = [(b"Content-Type", b"text/html;" + data[3:40]), *((p, p) for p in data.split(b"\n"))]
    assert injectable(200, headers, headers) in (None, *REASONS)
    assert rewritten_headers(rewritten_headers(headers)) == rewritten_headers(headers)


if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
