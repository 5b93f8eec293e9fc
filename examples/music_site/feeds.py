"""What programs read: the podcast feed, the site map, robots.txt and oEmbed."""

from datetime import UTC
from email.utils import format_datetime

from noai_guard.declarations.rsl import FeedTerms

from . import label, pages
from .pages import escape
from .shelf import Recording, Shelf


def rss(url: str, shelf: Shelf, terms: FeedTerms | None = None) -> str:
    """RSS 2.0 with the iTunes, Atom and Podcasting 2.0 namespaces; with `terms`, what each recording is licensed for.

    Tags as Apple Podcasts requires them (https://help.prx.org/hc/en-us/articles/360023748473, 2026-11-23); its
    directory would still refuse WAV, which other apps play.
    """
    recordings = list(shelf.recordings.values())
    items = "".join(_item(url, recording, len(recordings) - i, terms) for i, recording in enumerate(recordings))
    rsl = f" {terms.namespace}" if terms else ""
    updated = format_datetime(recordings[0].track.released.astimezone(UTC), usegmt=True)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" \
xmlns:atom="http://www.w3.org/2005/Atom" xmlns:podcast="https://podcastindex.org/namespace/1.0"{rsl}>
<channel>
<title>{label.PODCAST}</title>
<link>{escape(url)}/podcast/</link>
<description>{escape(label.PODCAST_ABOUT)}</description>
<language>en</language>
<copyright>© 2019–2026 {label.NAME}</copyright>
<lastBuildDate>{updated}</lastBuildDate>
<ttl>360</ttl>
<atom:link href="{escape(url)}/feed.xml" rel="self" type="application/rss+xml"/>
<image><url>{escape(url)}/covers/{recordings[0].track.slug}.png</url><title>{label.PODCAST}</title>\
<link>{escape(url)}/podcast/</link></image>
<itunes:image href="{escape(url)}/covers/{recordings[0].track.slug}.png"/>
<itunes:author>{label.NAME}</itunes:author>
<itunes:owner><itunes:name>{label.NAME}</itunes:name><itunes:email>{label.EMAIL}</itunes:email></itunes:owner>
<itunes:category text="Music"/>
<itunes:explicit>false</itunes:explicit>
<itunes:type>episodic</itunes:type>
<podcast:guid>{label.PODCAST_GUID}</podcast:guid>
<podcast:medium>music</podcast:medium>
<podcast:locked owner="{label.EMAIL}">yes</podcast:locked>
{items}</channel>
</rss>
"""


def _item(url: str, recording: Recording, episode: int, terms: FeedTerms | None) -> str:
    track = recording.track
    audio = f"{url}/audio/{track.slug}.wav"
    return f"""<item>
<title>{escape(track.title)}</title>
<link>{escape(url)}/tracks/{track.slug}</link>
<description>{escape(track.about)}</description>
<guid isPermaLink="false">nightferry.example:{track.catalogue.replace(" ", "")}</guid>
<pubDate>{format_datetime(track.released, usegmt=True)}</pubDate>
<enclosure url="{escape(audio)}" length="{recording.stat.st_size}" type="audio/wav"/>
<itunes:title>{escape(track.title)}</itunes:title>
<itunes:author>{escape(track.artist.name)}</itunes:author>
<itunes:duration>{recording.seconds}</itunes:duration>
<itunes:episode>{episode}</itunes:episode>
<itunes:episodeType>full</itunes:episodeType>
<itunes:explicit>false</itunes:explicit>
<itunes:image href="{escape(url)}/covers/{track.slug}.png"/>
{terms.element(audio) if terms else ""}</item>
"""


def site_map(url: str) -> str:
    paths = ["/", "/tracks/", "/artists/", "/podcast/", "/press/"]
    paths += [f"/artists/{artist.slug}" for artist in label.ARTISTS]
    plain = "".join(f"<url><loc>{escape(url + path)}</loc></url>\n" for path in paths)
    tracks = "".join(
        f"<url><loc>{escape(url)}/tracks/{track.slug}</loc><lastmod>{track.released:%Y-%m-%d}</lastmod></url>\n"
        for track in label.TRACKS
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{plain}{tracks}</urlset>\n'
    )


def robots(url: str) -> str:
    """The label's own rules, written before it had heard of AI; a guard has to keep them."""
    return f"""# Night Ferry Records
User-agent: *
Disallow: /admin/
Disallow: /search/results
Allow: /

User-agent: AhrefsBot
Crawl-delay: 10
Disallow: /audio/

Sitemap: {url}/sitemap.xml
"""


def oembed(url: str, shelf: Shelf, address: str, width: int = 480, height: int = 160) -> dict[str, object] | None:
    """The oEmbed answer for a track's address, no larger than asked; None for any other address.

    See https://oembed.com, section 2.3.4.
    """
    prefix = f"{url}/tracks/"
    recording = shelf.recordings.get(address.partition("?")[0].removeprefix(prefix))
    if recording is None or not address.startswith(prefix):
        return None
    track = recording.track
    box = {"width": min(width, 480), "height": min(height, 160)}
    return {
        "version": "1.0",
        "type": "rich",
        "title": track.title,
        "author_name": track.artist.name,
        "author_url": f"{url}/artists/{track.artist.slug}",
        "provider_name": label.NAME,
        "provider_url": f"{url}/",
        "cache_age": 86400,
        "thumbnail_url": f"{url}/covers/{track.slug}.png",
        "thumbnail_width": 1400,
        "thumbnail_height": 1400,
        "html": pages.embed_code(url, track, **box),
        **box,
    }
