"""Readers of our declarations: parsers that others wrote, and small models of documented tools."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import robotstxt
from jsonschema import Draft202012Validator
from jwm.robotstxt.googlebot import RobotsMatcher
from lxml import etree
from protego import Protego

ROBOTS_FILES = sorted((Path(__file__).parent / "robots").iterdir())

SITE = "https://band.example"

_SCHEMAS = Path(__file__).parent / "schemas"


def child(element: Element, path: str) -> Element:
    """Return the first descendant at a path; there must be one."""
    found = element.find(path)
    assert found is not None, path
    return found


def schema(name: str) -> Draft202012Validator:
    """A validator for one of schemas/NAME.schema.json."""
    return Draft202012Validator(json.loads((_SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))


_google = RobotsMatcher()
_google_fork = robotstxt.RobotsMatcher()


def google_allows(robots: bytes, name: str, path: str) -> bool:
    """Google's own parser (jwm-robotstxt), on the bytes."""
    return _google.OneAgentAllowedByRobots(robots, name, SITE + path)


def google_fork_allows(robots: bytes, name: str, path: str) -> bool:
    """The same C++ as kept by another project (fast-robotstxt); text only."""
    return _google_fork.is_allowed(robots.decode("utf-8", "replace"), name, SITE + path)


class ProtegoReader:
    """Scrapy's parser; it reads a byte-order mark as part of the first name, so that is taken off."""

    def __init__(self, robots: bytes) -> None:
        self._parsed = Protego.parse(robots.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))

    def allows(self, name: str, path: str) -> bool:
        return self._parsed.can_fetch(SITE + path, name)

    @property
    def sitemaps(self) -> list[str]:
        return list(self._parsed.sitemaps)


def img2dataset_skips(x_robots_tag_lines: list[str], own_token: str | None = None) -> bool:
    """Return True if img2dataset skips a download: it cuts each line at its first colon into user agent and words."""
    refusing = {"noai", "noimageai", "noindex", "noimageindex"}
    for line in x_robots_tag_lines:
        before, colon, after = line.partition(":")
        agent = before.strip().lower() if colon else None
        words = {word.strip().lower() for word in (after if colon else before).split(",")}
        if (agent is None or agent == own_token) and words & refusing:
            return True
    return False


def datadiligence_skips(x_robots_tag_lines: list[str], own_name: str = "spawningbot") -> bool:
    """Return True if Spawning's datadiligence skips: lines joined, cut at commas, exact spelling, `name: word` once."""
    for part in ",".join(x_robots_tag_lines).split(","):
        agent, colon, word = part.strip().rpartition(":")
        if (not colon or agent.strip().lower() == own_name) and word.strip() in ("noai", "noimageai"):
            return True
    return False


def tdmrep_reservation(rules: object, path: str) -> tuple[int | None, str | None]:
    """Return (reservation, policy) for a path as a TDMRep reader does: the first match counts, anything odd is unset."""
    if not isinstance(rules, list):
        return None, None
    for entry in rules:
        pattern = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", entry["location"]))
        pattern = pattern.removesuffix(r"\$") + (r"\Z" if entry["location"].endswith("$") else "")
        if re.match(pattern, path):
            reserved = entry["tdm-reservation"]
            if type(reserved) is not int or reserved not in (0, 1):
                return None, None
            return reserved, entry.get("tdm-policy") if reserved else None
    return None, None


def tdmrep_precedence(*forms: object) -> int | None:
    """Return the reservation of file, header and meta (None if missing): the last valid one counts."""
    valid = [int(value) for value in map(str, forms) if value in ("0", "1")]
    return valid[-1] if valid else None


_SIGNALS = {"search": ("yes", "no"), "ai-input": ("yes", "no"), "ai-train": ("yes", "no"),
            "use": ("immediate", "reference", "full")}  # fmt: skip


def content_signals(value: str) -> dict[str, str]:
    """Return the signals of one value: known keys with known values, cut at commas; anything else is ignored."""
    pairs = (pair.strip().partition("=") for pair in value.split(","))
    return {key: value for key, _, value in pairs if value in _SIGNALS.get(key, ())}


def signals_of_groups(robots: str) -> list[list[dict[str, str]]]:
    """The Content-Signal lines of each group of a robots.txt, as a group is in Google's parser."""
    groups: list[list[dict[str, str]]] = []
    ended = True
    for line in robots.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        key = key.strip().lower()
        if key == "user-agent":
            if ended:
                groups.append([])
            ended = False
        elif key in ("allow", "disallow"):
            ended = True
        elif key == "content-signal":
            groups[-1].append(content_signals(value))
    return groups


_RSL = "{https://rslstandard.org/rsl}"
_RSL_AI = {"ai-train", "ai-input", "ai-index"}
_RSL_USAGES = _RSL_AI | {"search"}
_RSL_ELEMENTS = {"rsl", "content", "license", "permits", "prohibits", "payment", "standard", "custom", "amount",
                 "accepts", "reporting", "legal", "alternate", "schema", "copyright", "terms"}  # fmt: skip


_rsl_schema = etree.RelaxNG(etree.parse(_SCHEMAS / "rsl.rng"))


def rsl_problems(document: bytes) -> list[str]:
    """Return the errors of the RSL 1.0 schema, and every rule that occurs twice with the same name and type."""
    root = etree.fromstring(document)
    _rsl_schema.validate(root)
    problems = [str(error.message) for error in _rsl_schema.error_log]
    for licence in root.iter(f"{_RSL}license"):
        kinds = [(child.tag, child.get("type")) for child in licence if child.tag != f"{_RSL}reporting"]
        problems += [f"{tag} of type {type} stands twice" for tag, type in set(kinds) if kinds.count((tag, type)) > 1]
    return problems


class RslReader:
    """Conservative reader of RSL 1.0: of the contents that match, those with the longest url count."""

    def __init__(self, document: bytes) -> None:
        self.root = ElementTree.fromstring(document)
        if self.root.tag != f"{_RSL}rsl":
            raise ValueError("not RSL")
        for element in self.root.iter():
            if element.tag.startswith(_RSL) and element.tag.removeprefix(_RSL) not in _RSL_ELEMENTS:
                raise ValueError("unknown element in the namespace of RSL")
        self.contents = self.root.findall(f"{_RSL}content")
        if any(content.find(f"{_RSL}license") is None for content in self.contents):
            raise ValueError("content without a license")

    def allows(self, path: str, usage: str) -> bool | None:
        """Return True if a usage of a path is licensed without payment, None if no content says."""
        for narrowest in self._narrowest_first(path):
            answers = {self._licenses(content, usage) for content in narrowest} - {None}
            if answers:
                return answers == {True}
        return None

    def offers(self, path: str, usage: str) -> bool:
        """Return True if a usage of a path can be bought: a licence permits it for payment, and none prohibits it."""
        narrowest = next(self._narrowest_first(path), [])
        return any(self._paid(licence) and self._permits(licence, usage)
                   for content in narrowest for licence in content.iterfind(f"{_RSL}license")) and not any(
            self._prohibits(licence, usage) for content in narrowest for licence in content.iterfind(f"{_RSL}license"))  # fmt: skip

    def _narrowest_first(self, path: str) -> Iterator[list[Element]]:
        matching = [content for content in self.contents if robots_match(content.get("url", ""), path)]
        for length in sorted({len(content.get("url", "")) for content in matching}, reverse=True):
            yield [content for content in matching if len(content.get("url", "")) == length]

    def licenses(self, usage: str) -> bool | None:
        """Return True if the only content licenses a usage, None if it does not say."""
        (only,) = self.contents
        return self._licenses(only, usage)

    def _licenses(self, content: Element, usage: str) -> bool | None:
        """Each licence has terms of its own, and what none grants is not licensed; a prohibition beats every grant."""
        licences = content.findall(f"{_RSL}license")
        if any(self._prohibits(licence, usage) for licence in licences):
            return False
        granting = [licence for licence in licences if licence.find(f"{_RSL}permits[@type='usage']") is not None]
        if not granting:
            return None
        return any(self._permits(licence, usage) and not self._paid(licence) for licence in granting)

    @staticmethod
    def _paid(licence: Element) -> bool:
        payment = licence.find(f"{_RSL}payment")
        return payment is not None and payment.get("type", "free") not in ("free", "attribution", "contribution")

    def _permits(self, licence: Element, usage: str) -> bool:
        return any(usage in self._usages(r.text or "") for r in licence.iterfind(f"{_RSL}permits[@type='usage']"))

    def _prohibits(self, licence: Element, usage: str) -> bool:
        return any(usage in self._usages(r.text or "") for r in licence.iterfind(f"{_RSL}prohibits[@type='usage']"))

    @staticmethod
    def _usages(text: str) -> set[str]:
        if "," in text:
            raise ValueError("words are separated by spaces")
        words = set(text.split())
        return words | (_RSL_AI if "ai-all" in words else set()) | (_RSL_USAGES if "all" in words else set())


def rsl_licences(robots: str, agent: str) -> list[str]:
    """Return the licences for a crawler: those of its group, else those before all groups; absolute URLs only."""
    by_name: dict[str, list[str]] = {"": []}
    names, ended = [""], True
    for line in robots.splitlines():
        key, _, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "user-agent":
            names = [value.lower()] if ended else [*names, value.lower()]
            by_name.setdefault(value.lower(), [])
            ended = False
        elif key in ("allow", "disallow"):
            ended = True
        elif key == "license" and re.match(r"[a-z][a-z0-9+.-]*://", value):
            for name in names:
                by_name[name].append(value)
    own = by_name[agent.lower()] if agent.lower() in by_name else by_name.get("*", [])
    return own or by_name[""]


def robots_match(pattern: str, path: str) -> bool:
    """Return True if a pattern of RFC 9309 matches the beginning of a path."""
    regex = "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", pattern.removesuffix("$")))
    return re.match(regex + (r"\Z" if pattern.endswith("$") else ""), path, re.DOTALL) is not None
