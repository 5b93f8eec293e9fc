"""Quoting for Apache httpd 2.4, and the directives that its two targets share (a virtual host, .htaccess)."""

from collections.abc import Iterator

from noai_guard.core.model import HeaderField
from noai_guard.errors import CannotExpress
from noai_guard.responses.header_fields import REPEATABLE
from noai_guard.targets.lookup_tables import LookupTables, header_title


def quote_argument(text: str) -> str:
    """Return a text as one literal argument of a directive. Raise CannotExpress for `${` and control characters."""
    if "${" in text or not text.isprintable():
        raise CannotExpress(f"Apache: {text!r} cannot stand in a directive")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def header_value(text: str) -> str:
    """Return the value of a header field as an argument of mod_headers, in which a percent sign starts a variable."""
    text = text.replace("%", "%%")
    if "\\" in text or text.startswith("expr="):
        raise CannotExpress(f"Apache: {text!r} cannot be the value of a header field")
    return quote_argument(text)


def expression(pattern: str) -> str:
    """Return a regular expression as an argument. `$` becomes the very end, not before a last line feed."""
    return '"' + pattern.replace("$", r"\z").replace('"', '\\"') + '"'


def in_request_line(pattern: str) -> str:
    """Return an expression for a target as one for the line in which it came: `GET /a%2Fb HTTP/1.1`.

    Apache decodes and resolves the path before anything else can read it.
    """
    flags = "(?i)" if pattern.startswith("(?i)") else ""
    return f"{flags}^[^ ]+ (?:{pattern.removeprefix(flags).replace('^', '', 1)})".replace("|^", "|").replace("$", " ")


def header_directive(field: HeaderField, condition: str = "") -> str:
    """Return a `Header always` line: repeatable fields are added to those of the site, others replace them."""
    action = "add" if field[0] in REPEATABLE else "set"
    return f"Header always {action} {header_title(field[0])} {header_value(field[1].decode('ascii'))}{condition}"


def declared_fields(tables: LookupTables, path_policy: str, documents_apart: bool = False) -> Iterator[str]:
    """Yield the lines for what every response declares; `path_policy` is the environment variable with the request's
    section. Documents declare nothing: where they are not `documents_apart`, that is their section.
    """
    yield "# Declarations. Where a backend sends a field of the same kind, that one stands."
    everywhere = tuple(range(len(tables.plan.declarations))) if documents_apart else ()
    # tdm-policy is left out if the site has its own tdm-reservation, so it is checked before ours is set.
    fields = sorted(tables.declared_fields.items(), key=lambda item: item[0][0] == b"tdm-reservation")
    for field, path_policies in fields:
        sections = ", ".join(f"'{number or ''}'" for number in path_policies)
        section = f"reqenv('{path_policy}')"
        in_section = f"-z {section}" if path_policies == (0,) else f"{section} in {{{sections}}}"
        names = {b"tdm-policy": ("tdm-policy", "tdm-reservation")}.get(field[0], (field[0].decode("ascii"),))
        conditions = [in_section] if path_policies != everywhere else []
        conditions += [] if field[0] in REPEATABLE else [f"-z resp('{name}')" for name in names]
        yield header_directive(field, f' "expr={" && ".join(conditions)}"' if conditions else "")
