"""Words for each usage: in noai.yaml and in refusals."""

from collections.abc import Mapping
from typing import NamedTuple

from noai_guard.core.model import Usage


class UsageWords(NamedTuple):
    """Plain texts for one usage; empty where the usage is not named.

    `meaning` explains the key in noai.yaml, `purpose` follows a refusal's "is not allowed to fetch this".
    """

    meaning: str
    purpose: str = ""


USAGE_WORDS: Mapping[Usage, UsageWords] = {
    Usage.TRAIN_AI: UsageWords("training of generative models", "to train AI"),
    Usage.DATA_BROKER: UsageWords("collecting data to sell it on, AI training included", "to resell data"),
    Usage.SCRAPER: UsageWords("scraping tools and services that feed AI", "to feed AI tools"),
    Usage.AI_AGENT: UsageWords("agents that act on a person's behalf", "as an AI agent"),
    Usage.AI_INPUT: UsageWords("fetching pages to answer a person's prompt", "to answer AI prompts"),
    Usage.AI_SEARCH: UsageWords("indexes of answer engines", "for AI search"),
    Usage.SEARCH: UsageWords("search engines that send people to the site", "for a search engine"),
    Usage.PREVIEW: UsageWords("link previews in messengers and social networks", "for link previews"),
    Usage.FEED: UsageWords("feed readers and podcast directories", "for feeds"),
    Usage.PLAYER: UsageWords("players and podcast apps", "for playback"),
    Usage.MONITORING: UsageWords("uptime and security checks", "for monitoring"),
    Usage.ADS: UsageWords("advertising quality checks", "for advertising"),
    Usage.ARCHIVE: UsageWords("web archives", "for an archive"),
    Usage.SEO: UsageWords("search engine optimisation tools", "for SEO analysis"),
    Usage.AUTOMATION: UsageWords("HTTP libraries and headless browsers", "automatically"),
    Usage.UNKNOWN_BOT: UsageWords("clients that call themselves bots and are in no catalogue"),
    Usage.NAMELESS: UsageWords("clients without a user agent, or with a single word that no catalogue knows"),
}
"""Every usage, in the order of the policy page, which has its own words for them."""
