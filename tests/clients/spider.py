"""A Scrapy spider that keeps every page and file it can reach: python spider.py SETTINGS_AS_JSON URL..."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from scrapy.crawler import CrawlerProcess
from scrapy.http import Response
from scrapy.linkextractors import LinkExtractor
from scrapy.spiders import CrawlSpider, Rule

EVERYTHING = LinkExtractor(deny_extensions=(), tags=("a", "audio", "img", "link", "script"), attrs=("href", "src"))


class Spider(CrawlSpider):
    name = "spider"
    allowed_domains = ("127.0.0.1",)
    start_urls = sys.argv[2:]
    rules = (Rule(EVERYTHING, callback="kept", follow=True),)

    def parse_start_url(self, response: Response, **_: Any) -> Iterator[dict[str, object]]:
        return self.kept(response)

    def kept(self, response: Response) -> Iterator[dict[str, object]]:
        yield {"url": response.url, "size": len(response.body)}


process = CrawlerProcess(
    {
        "FEEDS": {"kept.json": {"format": "json", "overwrite": True}},
        "LOG_LEVEL": "WARNING",
        "TELNETCONSOLE_ENABLED": False,
        **json.loads(sys.argv[1]),
    }
)
process.crawl(Spider)
process.start()
