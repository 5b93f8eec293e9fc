"""Words for each usage: in noai.yaml, on the policy page, in refusals."""

from collections.abc import Mapping
from typing import NamedTuple

from noai_guard.core.model import Usage


class UsageWords(NamedTuple):
    """Plain texts for one usage; empty where the usage is not named.

    `meaning` explains the key in noai.yaml, `purpose` follows a refusal's "is not allowed to fetch this", `title` and
    `summary` are its line on the policy page.
    """

    meaning: str
    purpose: str = ""
    title: str = ""
    summary: str = ""


USAGE_WORDS: Mapping[Usage, UsageWords] = {
    Usage.TRAIN_AI: UsageWords("training of generative models", "to train AI",
                               "Training AI", "collecting works to train generative models"),
    Usage.DATA_BROKER: UsageWords("collecting data to sell it on, AI training included", "to resell data",
                                  "Selling data", "collecting pages to resell them"),
    Usage.SCRAPER: UsageWords("scraping tools and services that feed AI", "to feed AI tools",
                              "Scraping for AI", "services that fetch pages for AI tools"),
    Usage.AI_AGENT: UsageWords("agents that act on a person's behalf", "as an AI agent",
                               "AI agents", "programs that act on a person’s behalf"),
    Usage.AI_INPUT: UsageWords("fetching pages to answer a person's prompt", "to answer AI prompts",
                               "AI answers", "fetching a page to answer a prompt"),
    Usage.AI_SEARCH: UsageWords("indexes of answer engines", "for AI search",
                                "AI search", "indexes of answer engines"),
    Usage.SEARCH: UsageWords("search engines that send people to the site", "for a search engine",
                             "Search engines", "finding this site and linking to it"),
    Usage.PREVIEW: UsageWords("link previews in messengers and social networks", "for link previews",
                              "Link previews", "cards in chats and social networks"),
    Usage.FEED: UsageWords("feed readers and podcast directories", "for feeds",
                           "Feeds and podcasts", "feed readers and podcast directories"),
    Usage.PLAYER: UsageWords("players and podcast apps", "for playback",
                             "Players", "audio players and podcast apps"),
    Usage.MONITORING: UsageWords("uptime and security checks", "for monitoring",
                                 "Monitoring", "uptime and security checks"),
    Usage.ADS: UsageWords("advertising quality checks", "for advertising",
                          "Advertising checks", "reviewing pages that ads point to"),
    Usage.ARCHIVE: UsageWords("web archives", "for an archive", "Web archives", "keeping copies for the record"),
    Usage.SEO: UsageWords("search engine optimisation tools", "for SEO analysis",
                          "SEO tools", "analysing links and rankings"),
    Usage.AUTOMATION: UsageWords("HTTP libraries and headless browsers", "automatically"),
    Usage.UNKNOWN_BOT: UsageWords("clients that call themselves bots and are in no catalogue"),
}  # fmt: skip
"""Every usage, in the order of the policy page."""
