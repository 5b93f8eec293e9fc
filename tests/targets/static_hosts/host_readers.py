"""How the hosts read their files, restated; test_real_hosts.py holds these beside the hosts' own code."""

import json
import re

Fields = dict[str, str]


def netlify(text: str, path: str) -> Fields:
    """As @netlify/headers-parser 9 reads a file and netlify dev serves it; names in lower case."""
    found: Fields = {}
    for pattern, lines in _blocks(text):
        parts = [_netlify_part(part.rstrip()) for part in pattern.split("/") if part.strip()]
        if re.fullmatch(f"/{'/'.join(parts)}/?", path, re.IGNORECASE):
            found.update(_joined(line for line in lines if ":" in line))
    return found


def _netlify_part(part: str) -> str:
    if part.startswith(":"):
        return "[^/]+"
    if part == "*":
        return "?.*"
    return part.replace("*", ".*") if "*" in part else re.escape(part)


def cloudflare(text: str, path: str) -> Fields:
    """As wrangler 4.86 reads a file and serves it (`pages dev`)."""
    found: Fields = {}
    for pattern, lines in _blocks(text)[:100]:
        expression = re.sub(r":[A-Za-z]\w*", "[^/]+", re.escape(pattern).replace(r"\*", ".*"))
        if not re.fullmatch(expression, path):
            continue
        for line in lines:
            if line.startswith("! "):
                found.pop(line[2:].strip().lower(), None)
        for name, value in _joined(line for line in lines if ":" in line).items():
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _blocks(text: str) -> list[tuple[str, list[str]]]:
    blocks: list[tuple[str, list[str]]] = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        if line.startswith("/"):
            blocks.append((line, []))
        elif not line.startswith("#"):
            blocks[-1][1].append(line)
    return blocks


def _joined(lines) -> Fields:
    found: Fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def vercel(text: str, path: str) -> Fields:
    """As @vercel/routing-utils 6 makes routes of `headers`, for sources that are one group behind a slash."""
    found: Fields = {}
    for entry in json.loads(text)["headers"]:
        if re.fullmatch(entry["source"], path):
            found.update({field["key"].lower(): field["value"] for field in entry["headers"]})
    return found


READERS = {"netlify": netlify, "cloudflare-pages": cloudflare, "vercel": vercel}
