"""The site's HTML. Every value that is not written here goes through `escape`."""

import json
from collections.abc import Iterable, Mapping
from html import escape as _escape
from urllib.parse import quote

from . import artwork, label
from .label import Artist, Track
from .shelf import Recording, Shelf


def escape(text: str) -> str:
    return _escape(text, quote=True)


_NAVIGATION = (
    ("/tracks/", "Records"),
    ("/artists/", "Artists"),
    ("/podcast/", "Podcast"),
    ("/press/", "Press"),
    ("/search", "Search"),
)
_MARK = (
    '<svg class="mark" aria-hidden="true" viewBox="0 0 48 30"><circle cx="35" cy="9" r="6"/>'
    '<path d="M3 16h4v-5h6V7h5v4h9v5h10l-4 7H8z"/><path class="sea" d="M1 26q5.5-4 11 0t11 0 11 0 12 0"/></svg>'
)


def clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def spoken(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} minutes {rest} seconds" if minutes else f"{rest} seconds"


def date(track: Track) -> str:
    released = track.released
    return f'<time datetime="{released:%Y-%m-%d}">{released.day} {released:%B %Y}</time>'


def alternative(track: Track) -> str:
    return f"Cover of {track.title}: a low disc over five swells, with a small lit ferry."


def metas(pairs: Iterable[tuple[str, str]]) -> str:
    """Open Graph names are properties, Twitter's are names."""
    return "\n".join(
        f'<meta {"name" if name.startswith("twitter:") else "property"}="{name}" content="{escape(content)}">'
        for name, content in pairs
    )


def document(url: str, path: str, title: str, description: str, main: str, head: str = "", body: str = "") -> str:
    """A whole page; `url` is the site's address without a slash at the end, `path` the page's own."""
    links = "".join(
        f'<li><a href="{target}"{" aria-current=page" if path.startswith(target) else ""}>{name}</a></li>'
        for target, name in _NAVIGATION
    )
    full_title = label.NAME if title == label.NAME else f"{title} · {label.NAME}"
    if not head:
        head = metas(
            [
                ("og:type", "website"),
                ("og:title", title),
                ("og:description", description),
                ("og:url", url + path),
                ("og:image", f"{url}/harbour.png"),
                ("og:image:type", "image/png"),
                ("og:image:width", "1200"),
                ("og:image:height", "630"),
                ("og:image:alt", "A lit ferry on a calm night sea under a low moon."),
                ("twitter:card", "summary_large_image"),
            ]
        )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(full_title)}</title>
<meta name="description" content="{escape(description)}">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" content="#0e1a33">
<link rel="canonical" href="{escape(url + path)}">
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
<link rel="alternate" type="application/rss+xml" title="{label.PODCAST}" href="/feed.xml">
<meta property="og:site_name" content="{label.NAME}">
{head}
<script src="/static/site.js" defer></script>
</head>
<body{f' class="{body}"' if body else ""}>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
<a class="brand" href="/">{_MARK}<span>Night Ferry <span>Records</span></span></a>
<nav aria-label="Main"><ul>{links}</ul></nav>
</header>
<main id="main">
{main}
</main>
<footer>
<div>
<p class="vow"><a href="/.well-known/noai">No AI training. Listeners welcome.</a></p>
<p>{label.NAME}, the slipway end of Harbour Street. <a href="mailto:{label.EMAIL}">{label.EMAIL}</a></p>
</div>
<ul>
<li><a href="/feed.xml">Podcast feed</a></li>
<li><a href="/press/">Press</a></li>
<li><a href="/sitemap.xml">Site map</a></li>
</ul>
</footer>
</body>
</html>
"""


def player(recording: Recording, preload: str = "none") -> str:
    track = recording.track
    name = escape(f"{track.title} by {track.artist.name}")
    return (
        f'<audio controls preload="{preload}" aria-label="{name}" src="/audio/{track.slug}.wav">'
        f'<a href="/audio/{track.slug}.wav">Download {name}</a></audio>'
    )


def picture(track: Track, size: int, loading: str = "lazy", alt: str | None = None) -> str:
    text = alternative(track) if alt is None else alt
    return (
        f'<img class="cover" src="/covers/{track.slug}.svg" alt="{escape(text)}" width="{size}" height="{size}" '
        f'loading="{loading}">'
    )


def card(recording: Recording) -> str:
    track = recording.track
    return f"""<li class="card">
<a class="card-link" href="/tracks/{track.slug}">{picture(track, 400, alt="")}
<h3>{escape(track.title)}</h3></a>
<p class="by"><a href="/artists/{track.artist.slug}">{escape(track.artist.name)}</a></p>
<p class="data"><span>{track.catalogue}</span><span>{date(track)}</span><span>{clock(recording.seconds)}</span></p>
{player(recording)}
</li>"""


def cards(recordings: Iterable[Recording]) -> str:
    return f'<ul class="cards">{"".join(card(recording) for recording in recordings)}</ul>'


def home(url: str, shelf: Shelf) -> str:
    newest, *others = shelf.recordings.values()
    track = newest.track
    artists = "".join(
        f'<li><a href="/artists/{artist.slug}"><b>{escape(artist.name)}</b></a>'
        f"<span>{escape(artist.line)}</span><span>{escape(artist.place)}</span></li>"
        for artist in label.ARTISTS
    )
    main = f"""<section class="harbour" aria-labelledby="name">
<img src="/harbour.svg" alt="A lit ferry on a calm night sea under a low moon." width="2400" height="900">
<div><h1 id="name">Small&#8209;hours music, <em>carried across.</em></h1>
<p>{escape(label.ABOUT)}</p></div>
</section>
<section class="newest" aria-labelledby="newest">
{picture(track, 560, "eager")}
<div>
<p class="data"><span>Now boarding</span><span>{track.catalogue}</span></p>
<h2 id="newest"><a href="/tracks/{track.slug}">{escape(track.title)}</a></h2>
<p class="by"><a href="/artists/{track.artist.slug}">{escape(track.artist.name)}</a></p>
<p>{escape(track.about)}</p>
{artwork.waveform(newest.loudness)}
{player(newest, "metadata")}
</div>
</section>
<section aria-labelledby="records">
<div class="heading"><h2 id="records">On the tape shelf</h2><a href="/tracks/">All records</a></div>
{cards(others[:4])}
</section>
<section aria-labelledby="artists">
<div class="heading"><h2 id="artists">The crew</h2><a href="/artists/">All artists</a></div>
<ul class="board">{artists}</ul>
</section>
<section class="crossing" aria-labelledby="podcast">
<h2 id="podcast">{label.PODCAST}, our podcast</h2>
<p>{escape(label.PODCAST_ABOUT)}</p>
<p><a class="button" href="/podcast/">How to listen</a></p>
</section>"""
    return document(url, "/", label.NAME, label.TAGLINE, main, body="home")


def records(url: str, shelf: Shelf) -> str:
    rows = "".join(
        f'<tr><td class="data">{recording.track.catalogue}</td>'
        f'<th scope="row"><a href="/tracks/{slug}">{escape(recording.track.title)}</a></th>'
        f'<td><a href="/artists/{recording.track.artist.slug}">{escape(recording.track.artist.name)}</a></td>'
        f'<td class="data">{date(recording.track)}</td><td class="data">{clock(recording.seconds)}</td></tr>'
        for slug, recording in shelf.recordings.items()
    )
    main = f"""<h1>Records</h1>
<p class="lead">Everything we have put out lately, newest first. Press play; nothing follows you.</p>
<div class="scroll" role="region" aria-label="Departures" tabindex="0"><table class="departures">
<caption>Departures</caption>
<thead><tr><th scope="col">No.</th><th scope="col">Title</th><th scope="col">Artist</th>
<th scope="col">Released</th><th scope="col">Length</th></tr></thead>
<tbody>{rows}</tbody></table></div>
<div class="heading"><h2>Sleeves</h2></div>
{cards(shelf.recordings.values())}"""
    return document(url, "/tracks/", "Records", "Every record on Night Ferry, newest first.", main)


def _track_head(url: str, recording: Recording, rights: Mapping[str, str]) -> str:
    track = recording.track
    page, audio, image = (
        f"{url}/tracks/{track.slug}",
        f"{url}/audio/{track.slug}.wav",
        f"{url}/covers/{track.slug}.png",
    )
    title = f"{track.title} by {track.artist.name}"
    secure = [("og:audio:secure_url", audio)] if url.startswith("https:") else []
    tags = metas(
        [
            ("og:type", "music.song"),
            ("og:title", title),
            ("og:description", track.about),
            ("og:url", page),
            ("og:image", image),
            ("og:image:type", "image/png"),
            ("og:image:width", "1400"),
            ("og:image:height", "1400"),
            ("og:image:alt", alternative(track)),
            ("og:audio", audio),
            *secure,
            ("og:audio:type", "audio/wav"),
            ("music:duration", str(recording.seconds)),
            ("music:musician", f"{url}/artists/{track.artist.slug}"),
            ("music:release_date", f"{track.released:%Y-%m-%d}"),
            ("twitter:card", "player"),
            ("twitter:title", title),
            ("twitter:description", track.about),
            ("twitter:image", image),
            ("twitter:image:alt", alternative(track)),
            ("twitter:player", f"{url}/embed/{track.slug}"),
            ("twitter:player:width", "480"),
            ("twitter:player:height", "160"),
            ("twitter:player:stream", audio),
            ("twitter:player:stream:content_type", "audio/wav"),
        ]
    )
    facts = {
        "@context": "https://schema.org",
        "@type": "MusicRecording",
        "name": track.title,
        "isrcCode": track.isrc.replace("-", ""),
        "byArtist": {
            "@type": "MusicGroup",
            "name": track.artist.name,
            "url": f"{url}/artists/{track.artist.slug}",
        },
        "datePublished": f"{track.released:%Y-%m-%d}",
        "duration": f"PT{recording.seconds}S",
        "url": page,
        "image": image,
        "audio": {"@type": "AudioObject", "contentUrl": audio, "encodingFormat": "audio/wav"},
        "recordLabel": {"@type": "Organization", "name": label.NAME, "url": url + "/"},
        **rights,
    }
    # Inside a script element only "<" could end it early; JSON allows it to be written as an escape.
    data = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    oembed = f"{url}/oembed?url={quote(page, safe='')}&format=json"
    return (
        f'{tags}\n<link rel="alternate" type="application/json+oembed" title="{escape(title)}" '
        f'href="{escape(oembed)}">\n<script type="application/ld+json">{data}</script>'
    )


def embed_code(url: str, track: Track, width: int = 480, height: int = 160) -> str:
    return (
        f'<iframe src="{escape(url)}/embed/{track.slug}" width="{width}" height="{height}" '
        f'title="{escape(f"{track.title} by {track.artist.name}")}"></iframe>'
    )


def track(url: str, shelf: Shelf, recording: Recording, rights: Mapping[str, str]) -> str:
    """The page of a recording; `rights` are properties of its JSON-LD."""
    item = recording.track
    people = "".join(f"<div><dt>{escape(role)}</dt><dd>{escape(who)}</dd></div>" for role, who in item.credits)
    tags = "".join(f'<li><a href="/search?q={quote(tag)}">{escape(tag)}</a></li>' for tag in item.tags)
    others = [other for other in shelf.recordings.values() if other.track is not item][:3]
    main = f"""<article class="record">
{picture(item, 720, "eager")}
<div>
<p class="data"><span>{item.catalogue}</span><span>{date(item)}</span><span>{clock(recording.seconds)}</span></p>
<h1>{escape(item.title)}</h1>
<p class="by"><a href="/artists/{item.artist.slug}">{escape(item.artist.name)}</a></p>
{artwork.waveform(recording.loudness)}
{player(recording, "metadata")}
<p class="lead">{escape(item.about)}</p>
<dl class="credits">{people}<div><dt>Length</dt><dd>{spoken(recording.seconds)}</dd></div>
<div><dt>File</dt><dd>
<a href="/audio/{item.slug}.wav" download>WAV, {recording.stat.st_size / 1e6:.1f} MB</a></dd></div>
</dl>
<ul class="tags" aria-label="Tags">{tags}</ul>
<details><summary>Put it on your own page</summary>
<label for="embed">Embed code</label>
<textarea id="embed" rows="4" readonly spellcheck="false">{escape(embed_code(url, item))}</textarea></details>
</div>
</article>
<section aria-labelledby="more"><div class="heading"><h2 id="more">Also on the shelf</h2></div>
{cards(others)}</section>"""
    return document(url, f"/tracks/{item.slug}", item.title, item.about, main, _track_head(url, recording, rights))


def artists(url: str) -> str:
    items = "".join(
        f"""<li class="person"><a href="/artists/{artist.slug}">{picture(label.by_artist(artist)[0], 280, alt="")}
<h2>{escape(artist.name)}</h2></a><p>{escape(artist.line)}</p>
<p class="data"><span>{escape(artist.place)}</span></p></li>"""
        for artist in label.ARTISTS
    )
    main = f'<h1>Artists</h1><p class="lead">Four acts, one kettle.</p><ul class="people">{items}</ul>'
    return document(url, "/artists/", "Artists", "The four acts of Night Ferry Records.", main)


def artist(url: str, shelf: Shelf, item: Artist) -> str:
    about = "".join(f"<p>{escape(text)}</p>" for text in item.about)
    main = f"""<p class="data"><span>{escape(item.place)}</span></p>
<h1>{escape(item.name)}</h1>
<div class="prose"><p class="lead">{escape(item.line)}</p>{about}</div>
<section aria-labelledby="by"><div class="heading"><h2 id="by">Recordings</h2></div>
{cards(shelf.recordings[track.slug] for track in label.by_artist(item))}</section>"""
    head = metas(
        [
            ("og:type", "profile"),
            ("og:title", item.name),
            ("og:description", item.line),
            ("og:url", f"{url}/artists/{item.slug}"),
            ("og:image", f"{url}/covers/{label.by_artist(item)[0].slug}.png"),
            ("og:image:type", "image/png"),
            ("og:image:alt", alternative(label.by_artist(item)[0])),
            ("twitter:card", "summary"),
        ]
    )
    return document(url, f"/artists/{item.slug}", item.name, item.line, main, head)


def podcast(url: str, shelf: Shelf) -> str:
    episodes = "".join(
        f'<li><div><p class="data"><span>{date(recording.track)}</span><span>{clock(recording.seconds)}</span></p>'
        f'<h3><a href="/tracks/{slug}">{escape(recording.track.title)}</a></h3>'
        f"<p>{escape(recording.track.artist.name)}</p></div>{player(recording)}</li>"
        for slug, recording in shelf.recordings.items()
    )
    main = f"""<h1>{label.PODCAST}</h1>
<p class="lead">{escape(label.PODCAST_ABOUT)}</p>
<p><label for="feed">Feed address, for any podcast app</label>
<input id="feed" class="copy" readonly value="{escape(url)}/feed.xml"></p>
<p><a class="button" href="/feed.xml">Open the feed</a></p>
<section aria-labelledby="episodes"><div class="heading"><h2 id="episodes">Episodes</h2></div>
<ol class="episodes">{episodes}</ol></section>"""
    return document(url, "/podcast/", label.PODCAST, label.PODCAST_ABOUT, main)


def press(url: str) -> str:
    covers = "".join(
        f'<li><a href="/covers/{track.slug}.png" download>{picture(track, 200, alt="")}'
        f"<span>{escape(track.title)}, PNG 1400 × 1400</span></a></li>"
        for track in label.TRACKS
    )
    main = f"""<h1>Press</h1>
<div class="prose">
<p class="lead">Everything on this page may be quoted, printed and shown, by people, about our music.</p>
<blockquote><p>A label that sounds like the light left on in the harbour master’s office.</p>
<footer>The Slipway Gazette</footer></blockquote>
<p>{escape(label.ABOUT)}</p>
<p>Interviews, review copies, radio: <a href="mailto:{label.EMAIL}">{label.EMAIL}</a>. The whole story on one page is
in the <a href="/press/one-sheet.txt">one-sheet</a>.</p></div>
<section aria-labelledby="covers"><div class="heading"><h2 id="covers">Covers</h2></div>
<ul class="sleeves">{covers}</ul></section>"""
    return document(url, "/press/", "Press", "Pictures and words about Night Ferry Records.", main)


def one_sheet(url: str) -> str:
    lines = [label.NAME, label.TAGLINE, "", label.ABOUT, "", "Records"]
    lines += [f"  {t.catalogue}  {t.released:%Y-%m-%d}  {t.title} / {t.artist.name}" for t in label.TRACKS]
    lines += ["", "Artists"]
    lines += [f"  {artist.name}, {artist.place}. {artist.line}" for artist in label.ARTISTS]
    return "\n".join([*lines, "", f"{url}/  {label.EMAIL}", ""])


def results(shelf: Shelf, query: str) -> str:
    """The answer to a search, without a page around it."""
    if not query.strip():
        return '<p class="count">Try a mood, an instrument, a harbour: piano, bells, Cork.</p>'
    found = [shelf.recordings[item.slug] for item in label.search(query)]
    count = "1 record" if len(found) == 1 else f"{len(found)} records"
    return f'<h2 class="count">{count} for “{escape(query)}”</h2>{cards(found) if found else ""}'


def search(url: str, shelf: Shelf, query: str) -> str:
    main = f"""<h1>Search</h1>
<form class="search" action="/search" method="get" role="search" data-fragment="/search/results">
<label for="q">Title, artist, instrument or mood</label>
<div><input id="q" name="q" type="search" value="{escape(query)}" maxlength="80" autocomplete="off">
<button>Search</button></div>
</form>
<div id="results" aria-live="polite">{results(shelf, query)}</div>"""
    return document(url, "/search", "Search", "Search the records of Night Ferry.", main)


def embed(url: str, recording: Recording) -> str:
    track = recording.track
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(f"{track.title} by {track.artist.name}")}</title>
<meta name="color-scheme" content="light dark">
<link rel="canonical" href="{escape(url)}/tracks/{track.slug}">
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
</head>
<body class="embed">
<main>
{picture(track, 136, "eager")}
<div>
<p class="data"><span>{track.catalogue}</span>
<a href="{escape(url)}/" target="_blank" rel="noopener">{label.NAME}</a></p>
<h1><a href="{escape(url)}/tracks/{track.slug}" target="_blank" rel="noopener">{escape(track.title)}</a></h1>
<p class="by">{escape(track.artist.name)}</p>
{player(recording, "metadata")}
</div>
</main>
</body>
</html>
"""


def missing(url: str) -> str:
    main = """<h1>Lost at sea</h1>
<p class="lead">There is nothing at this address. It may have sailed.</p>
<p><a class="button" href="/tracks/">To the records</a></p>"""
    return document(url, "/", "Not found", "There is nothing at this address.", main)
