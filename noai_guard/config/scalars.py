"""Convert texts of a policy to their canonical form, or reject them: addresses, paths, networks, ids.

Whatever ends up in a header field, in robots.txt or between tags becomes ASCII, whatever the site wrote.
"""

import re
import unicodedata
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit, urlunsplit

from noai_guard.config.schema_types import Rejection
from noai_guard.config.wishes import DATABASES, is_database
from noai_guard.config.yaml_nodes import printable
from noai_guard.core.event_settings import FILES, STDOUT, days_in, syslog_address
from noai_guard.core.header_conditions import HEADER_NAME, WORD
from noai_guard.core.identity.signing_keys import decoded
from noai_guard.core.identity.web_bot_auth import directory_address
from noai_guard.core.networks import InvalidNetwork, parse_network
from noai_guard.core.partners import midnight
from noai_guard.core.path_patterns import QUERY, pattern_problem
from noai_guard.core.paths import normal_path
from noai_guard.core.uses import KNOWN_USES
from noai_guard.core.works import work_pattern_problem
from noai_guard.declarations import robots_txt, tdmrep
from noai_guard.stores.addresses import FORMS, full_address, problem_of_address

_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def ascii_host(host: str) -> str | None:
    """Return a host name as DNS carries it, or None if it is none.

    Converts as browsers do (UTS 46, nontransitional: `ß` stays itself, while Python's own `idna` codec is the
    IDNA of 2003 and makes `ss` of it, another domain). IPv6 addresses come back in brackets.
    """
    if ":" in host:
        try:
            return f"[{IPv6Address(host)}]"
        except ValueError:
            return None
    name = unicodedata.normalize("NFKC", host.lower()).replace("\u3002", ".").removesuffix(".")
    labels = [
        label if label.isascii() or not label.isprintable() else f"xn--{label.encode('punycode').decode('ascii')}"
        for label in name.split(".")
    ]
    ascii_name = ".".join(labels)
    return ascii_name if len(ascii_name) <= 253 and all(map(_LABEL.fullmatch, labels)) else None


def _ascii_address(text: str) -> str | None:
    """Return an http or https address in the form that may stand between <> or quotes, or None if it is none."""
    try:
        parts = urlsplit(text)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return None
    host = ascii_host(parts.hostname or "")
    if parts.scheme not in ("https", "http") or host is None or "@" in parts.netloc or "\\" in text:
        return None
    path_and_more = (quote(part, safe=_URL_SAFE, errors="replace") for part in parts[2:])
    return urlunsplit((parts.scheme, f"{host}{port}", *path_and_more))


def web_address(text: str) -> str | Rejection:
    """Return an http or https address in ASCII."""
    if address := _ascii_address(text):
        return address
    meant = _ascii_address(f"https://{text}") if "." in text else None
    hint = f"write {meant}" if meant else "write https://..., without a password"
    return Rejection("P014", f"{printable(text)!r} is not a web address", hint)


def site_address(text: str) -> str | Rejection:
    """Return a web address without query and fragment."""
    address = web_address(text)
    if isinstance(address, str) and re.search(r"[?#]", address):
        return Rejection("P014", f"{printable(text)!r} is not the address of a site", "leave out what follows ? or #")
    return address


def contact(text: str) -> str | Rejection:
    """Return a mailto: or web address."""
    mail = text[7:] if text[:7].lower() == "mailto:" else text
    local, at, host = mail.rpartition("@")
    domain = ascii_host(host)
    if at and domain and "." in domain and re.fullmatch(r"[^\s@<>\"(),:;\\\[\]?%&#]+", local):
        return "mailto:" + quote(local, safe="!$'*+/=_~", errors="replace") + f"@{domain}"
    message = f"{printable(text)!r} is neither an e-mail nor a web address"
    return _ascii_address(text) or Rejection("P014", message, "write name@example.org or https://...")


def policy_page(text: str) -> str | Rejection:
    """Return a path of the site that the guard can answer, or the address of a page elsewhere."""
    if not text.startswith("/"):
        message = f"{printable(text)!r} is neither a path nor a web address"
        return _ascii_address(text) or Rejection("P014", message, "write /ai-policy or https://...")
    if not re.fullmatch(r"/[A-Za-z0-9._~!$'()+,;=:@/-]+", text) or normal_path(text) != text:
        message = f"{printable(text)!r} is not the path of a page"
        return Rejection("P014", message, "write a plain path such as /ai-policy")
    if text in (robots_txt.PATH, tdmrep.PATH):
        return Rejection("P014", f"{text} is a declaration of its own", "write another path, such as /ai-policy")
    return text


def path_pattern(text: str) -> str | Rejection:
    """Return a path pattern with each run of `/**` written once."""
    problem = pattern_problem(text)
    if problem:
        path, query, _ = text.partition("?")
        if query and QUERY.search(text):
            is_plain = "*" not in path and pattern_problem(path) is None
            hint = (
                f"write {path}, which holds with any query" if is_plain else "name the paths, whatever their query is"
            )
        else:
            hint = f"write /{text}" if text and pattern_problem(f"/{text}") is None else "for example /tracks/**"
        return Rejection("P011", f"bad path pattern {printable(text)!r}: {problem}", hint)
    return re.sub(r"(?:/\*\*)+(?=/|\Z)", "/**", text)


def work_pattern(text: str) -> str | Rejection:
    """Return a pattern of works."""
    problem = work_pattern_problem(text)
    if problem:
        return Rejection(
            "P011", f"bad pattern of works {printable(text)!r}: {problem}", "for example /audio/{work}.mp3"
        )
    return text


def network(text: str) -> str | Rejection:
    """Return an address or CIDR network in its canonical form; IPv4 written as IPv6 becomes IPv4."""
    try:
        parsed = parse_network(text)
    except InvalidNetwork as error:
        hint = f"did you mean {error.suggestion!r}?" if error.suggestion else "write 203.0.113.0/24 or 2001:db8::/32"
        return Rejection("P013", f"{printable(text)!r} is not an address or network", hint)
    if parsed.prefixlen == 0:
        return Rejection("P013", f"{text} is everybody", "write the networks that are meant, or mode: monitor")
    return str(parsed)


def store_address(text: str) -> str | Rejection:
    """Return the address of a store. A rejection does not repeat it: it may hold a password."""
    text = full_address(text)
    if problem := problem_of_address(text):
        return Rejection("P025", f"this is not the address of a store: {problem}", f"write one of {', '.join(FORMS)}")
    return text


def wishes_source(text: str) -> str | Rejection:
    """Return where wishes are kept. A rejection does not repeat it: it may hold a password."""
    hint = f"write {'..., '.join(DATABASES)}... or the name of a catalogue (CSV) beside this file"
    if "\0" in text or ("://" in text and not is_database(text)) or text in DATABASES:
        return Rejection("P057", "this is neither a catalogue nor the address of a database", hint)
    return text


def event_target(text: str) -> str | Rejection:
    """Return a place that events go to."""
    if text in (FILES, STDOUT) or syslog_address(text):
        return text
    message = f"events cannot go to {printable(text)!r}"
    return Rejection("P070", message, "write files, stdout, syslog:/dev/log or syslog://logs.example:514")


def duration(text: str) -> str | Rejection:
    """Return a number of days, weeks, months or years."""
    if days_in(text):
        return text
    return Rejection("P071", f"{printable(text)!r} is not a time", "write 90 days, 6 weeks, 12 months or 2 years")


def network_name(text: str) -> str | Rejection:
    """Return the name that a policy gives to networks, in lower case."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", text):
        return text.lower()
    hint = "begin with a letter, then letters, digits, dash and underscore, at most 64"
    return Rejection("P007", f"bad name of networks {printable(text)!r}", hint)


def header_name(text: str) -> str | Rejection:
    """Return the name of a header field that a condition may be about, in lower case."""
    if text.lower() == "user-agent":
        return Rejection(
            "P007", "User-Agent is no header condition", "write agents:, or expected_user_agent: in agents:"
        )
    if HEADER_NAME.fullmatch(text):
        return text.lower()
    hint = "letters, digits and -, such as X-Crawler"
    return Rejection("P007", f"{printable(text)!r} is not the name of a header field", hint)


def header_word(text: str) -> str | Rejection:
    """Return a word that may be looked for in the value of a header field."""
    if WORD.fullmatch(text) and any(map(str.isalnum, text)):
        return text
    hint = "write a word of printable ASCII, at most 100 characters; no regular expression"
    return Rejection("P007", f"{printable(text)!r} cannot be looked for in a header field", hint)


def words(text: str) -> str | Rejection:
    """Return a text that says something, without blanks around it."""
    return text.strip() or Rejection("P006", "the text is empty", "write it, or remove the key")


def use_name(text: str) -> str | Rejection:
    """Return the name of a use inside the house: a known one as it is known, or the site's own words."""
    known = "-".join(text.lower().split())
    return known if known in KNOWN_USES else words(text)


def licence(text: str) -> str | Rejection:
    """Return the web address of a licence in ASCII, or words about it."""
    return _ascii_address(text) or words(text)


def language(text: str) -> str | Rejection:
    """Return a language tag that HTML takes (BCP 47)."""
    hint = "write de, fr, pt-BR ..."
    return text if _LANGUAGE.fullmatch(text) else Rejection("P007", f"{text[:50]!r} is not a language", hint)


def rule_id(text: str) -> str | Rejection:
    """Return the id of a rule, fit for logs and metric labels."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        return text
    hint = "use letters, digits, dot, dash and underscore, at most 64"
    return Rejection("P007", f"bad rule id {printable(text)!r}", hint)


def key_digest(text: str) -> str | Rejection:
    """Return the SHA-256 of an API key, 64 hexadecimal digits in lower case. The text is never repeated."""
    if re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        return text.lower()
    message = "an API key is given by its SHA-256, 64 hexadecimal digits, never by itself"
    return Rejection("P040", message, "noai-guard partners key makes a key and prints its SHA-256")


def ledger_key(text: str) -> str | Rejection:
    """Return the public key of a ledger: `ed25519:` and 32 octets in base64url without padding."""
    name, _, key = text.partition(":")
    try:
        if name == "ed25519" and len(decoded(key)) == 32:
            return text
    except ValueError:
        pass
    message = f"{printable(text)!r} is not the public key of a ledger"
    return Rejection("P065", message, "write it as `noai-guard ledger init` printed it: ed25519:...")


def day(text: str) -> str | Rejection:
    """Return a date as YYYY-MM-DD."""
    try:
        midnight(text, 1)
    except (ValueError, OverflowError):
        return Rejection("P041", f"{printable(text)!r} is not a date", "write YYYY-MM-DD, such as 2027-12-31")
    return text


def key_directory(text: str) -> str | Rejection:
    """Return the address of the key set that a signature agent stands for."""
    hint = "write https://agent.example, or the https address of the key set"
    message = f"{printable(text)!r} is not the address of a key directory"
    return directory_address(text) or Rejection("P042", message, hint)


def key_thumbprint(text: str) -> str | Rejection:
    """Return the thumbprint of a key: the `keyid` of its signatures."""
    try:
        is_thumbprint = len(decoded(text)) == 32
    except ValueError:
        is_thumbprint = False
    message = f"{printable(text)!r} is not the thumbprint of a key"
    hint = "write the keyid of a signature: 43 letters, digits, - and _ (RFC 7638)"
    return text if is_thumbprint else Rejection("P042", message, hint)


def authority(text: str) -> str | Rejection:
    """Return a host name, with a port if it is not the usual one, as it stands in Host."""
    host, colon, port = text.rpartition(":") if re.search(r":[0-9]{1,5}\Z", text) else (text, "", "")
    name = ascii_host(host.removeprefix("[").removesuffix("]")) if host else None
    if name is None:
        return Rejection("P014", f"{printable(text)!r} is not a host name", "write www.example.org, without https://")
    return f"{name}{colon}{port}"


def https_address(text: str) -> str | Rejection:
    """Return an https address in ASCII."""
    address = web_address(text)
    if isinstance(address, str) and not address.startswith("https:"):
        return Rejection(
            "P014", f"{printable(text)!r} is not an https address", f"write {address.replace('http', 'https', 1)}"
        )
    return address
