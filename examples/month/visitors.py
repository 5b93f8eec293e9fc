"""Who comes to Night Ferry Records in October, how often, and what for."""

from collections.abc import Callable
from dataclasses import dataclass

from noai_guard.core.model import Identity

_MOZILLA = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; "


@dataclass(frozen=True, slots=True)
class Visitor:
    """One program. `daily` are its requests of a mean day, and `days` says how many times as many it sends on a day of
    the month. `audio` is the share of requests for recordings. `told` are the declarations that it fetches first."""

    user_agent: str
    daily: int
    audio: float
    identity: Identity = Identity.UNVERIFIED
    proof: str = ""
    told: tuple[str, ...] = ()
    clients: int = 3
    days: Callable[[int], float] = lambda day: 1.0


def _bursts(*first: int) -> Callable[[int], float]:
    return lambda day: 6.0 if any(0 <= day - each < 2 for each in first) else 0.05


VERIFIED, SPOOFED, UNCLAIMED = Identity.VERIFIED, Identity.SPOOFED, Identity.UNCLAIMED

VISITORS = (
    Visitor(f"{_MOZILLA}GPTBot/1.3; +https://openai.com/gptbot)", 34, 0.2, VERIFIED, "networks", ("/robots.txt",)),
    Visitor(f"{_MOZILLA}ChatGPT-User/1.0; +https://openai.com/bot)", 16, 0.05, VERIFIED, "networks"),
    Visitor(f"{_MOZILLA}GPTBot/1.3; +https://openai.com/gptbot)", 7, 0.9, SPOOFED, "networks", clients=11),
    Visitor(
        f"{_MOZILLA}ClaudeBot/1.0; +claudebot@anthropic.com)",
        *(22, 0.1, VERIFIED, "networks", ("/robots.txt", "/.well-known/tdmrep.json")),
    ),
    Visitor(
        "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 "
        "(compatible; Bytespider; spider-feedback@bytedance.com)",
        *(130, 0.6),
        clients=40,
        days=lambda day: 0.5 + day / 20,
    ),
    Visitor(
        "CCBot/2.0 (https://commoncrawl.org/faq/)",
        *(30, 0.0, VERIFIED, "reverse_dns", ("/robots.txt",)),
        days=_bursts(6, 21),
    ),
    Visitor(
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
        *(75, 0.3),
        told=("/robots.txt",),
        clients=20,
        days=lambda day: 1.6 if day > 15 else 0.7,
    ),
    Visitor(
        f"{_MOZILLA}PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
        *(14, 0.1, VERIFIED, "networks", ("/robots.txt", "/license.xml")),
    ),
    Visitor(
        f"{_MOZILLA}Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot)",
        *(20, 0.1, VERIFIED, "networks", ("/robots.txt",)),
    ),
    Visitor(
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        *(24, 0.85, SPOOFED, "reverse_dns"),
        clients=6,
        days=_bursts(11, 12),
    ),
    Visitor("img2dataset", 5, 0.0, days=_bursts(17)),
    Visitor("Scrapy/2.13 (+https://scrapy.org)", 12, 0.7, days=_bursts(3, 27)),
    Visitor("yt-dlp/2026.10.02", 9, 1.0, clients=9),
    Visitor("python-requests/2.32.5", 18, 0.5, clients=14),
    Visitor("audio-harvest/0.3", 6, 1.0, UNCLAIMED, days=_bursts(24)),
    Visitor("", 10, 0.3, UNCLAIMED, clients=12),
)
