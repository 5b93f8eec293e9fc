"""What the label has to say: its artists and its recordings. Everyone here is invented."""

from dataclasses import dataclass
from datetime import UTC, datetime

NAME = "Night Ferry Records"
TAGLINE = "Small-hours music, carried across."
ABOUT = (
    "Night Ferry is a very small record label in a very small harbour. Since 2019 we have put out music made late, "
    "by people in earshot of the water, and paid for the next record with the last one."
)
EMAIL = "crew@nightferry.example"
PODCAST = "The Crossing"
PODCAST_ABOUT = (
    "One recording at a time, straight from the Night Ferry tape shelf. No adverts, no talking over the music."
)
# uuid5(ead4c236-bf58-58c6-a2c6-a6b28d128cb6, "nightferry.example/feed.xml"), as the podcast namespace asks
PODCAST_GUID = "bbd9488f-89a6-53f7-bfe1-7d2458eaa635"


@dataclass(frozen=True, slots=True)
class Artist:
    slug: str
    name: str
    place: str
    line: str
    about: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Palette:
    sky: str
    disc: str
    crest: str
    deep: str


@dataclass(frozen=True, slots=True)
class Track:
    slug: str
    number: int
    title: str
    artist: Artist
    released: datetime
    about: str
    credits: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]
    palette: Palette
    disc: tuple[float, float, float]  # centre and radius on a cover of 100 by 100

    @property
    def catalogue(self) -> str:
        return f"NF {self.number:03}"

    @property
    def isrc(self) -> str:
        """The code of the recording; invented, as everything here."""
        return f"DE-A12-{self.released:%y}-{self.number:05}"


HALVORSEN = Artist(
    "ines-halvorsen",
    "Ines Halvorsen",
    "Skarvik, Norway",
    "Felt piano, one lamp on.",
    (
        "Ines Halvorsen tunes pianos by day and plays them after the last bus. Her recordings are made on a 1931 "
        "upright with a strip of felt between hammer and string, so that the neighbours can sleep.",
        "She has released two records with us and is, she says, halfway through a third.",
    ),
)
KITE_HARBOUR = Artist(
    "kite-harbour",
    "Kite Harbour",
    "Whitby, England",
    "Thumb pianos and long afternoons.",
    (
        "Kite Harbour is the duo of Tamsin Achterberg and Jo Okonedo, who build their own kalimbas out of cutlery "
        "drawers and record them on the slipway when the wind allows.",
        "Their songs have no words, but every one of them has a boat in it.",
    ),
)
MOTH_ATLAS = Artist(
    "moth-atlas",
    "Moth Atlas",
    "Cork, Ireland",
    "Slow weather for headphones.",
    (
        "Moth Atlas is one person, one tape machine and a map of every lighthouse between Mizen Head and Malin Head. "
        "The pieces are as long as the light takes to come round again.",
        "Nobody has seen Moth Atlas play live. Several people believe they have.",
    ),
)
ODUYA_REYES = Artist(
    "oduya-and-reyes",
    "Oduya & Reyes",
    "Rotterdam, Netherlands",
    "Electric piano, brushed drums, last trains.",
    (
        "Femi Oduya and Lucía Reyes met on a replacement bus service and had written their first tune before it "
        "arrived. They still write on public transport and record in a former ticket office.",
        "On stage they are a quintet; on record, two people and a very patient drum machine.",
    ),
)
ARTISTS = (HALVORSEN, KITE_HARBOUR, MOTH_ATLAS, ODUYA_REYES)

# Newest first.
TRACKS = (
    Track(
        "lanterns-at-low-tide",
        18,
        "Lanterns at Low Tide",
        HALVORSEN,
        datetime(2026, 10, 30, 21, 0, tzinfo=UTC),
        "A slow waltz for felt piano, written on the night the harbour lights failed and the whole street walked "
        "down with lanterns to bring the boats in.",
        (("Piano", "Ines Halvorsen"), ("Recorded", "Skarvik, one take, with the window open")),
        ("piano", "waltz", "quiet"),
        Palette("#1b2a4a", "#ffcf87", "#3f7291", "#0b1630"),
        (68, 30, 15),
    ),
    Track(
        "midnight-timetable",
        17,
        "Midnight Timetable",
        ODUYA_REYES,
        datetime(2026, 9, 18, 21, 0, tzinfo=UTC),
        "Four chords that go round like the night bus: a minor ninth, two changes, and a seventh that always leaves "
        "just before you reach the stop.",
        (("Electric piano", "Lucía Reyes"), ("Bass and drum machine", "Femi Oduya")),
        ("downtempo", "electric piano", "beats"),
        Palette("#3a1f3d", "#ff7a5c", "#7d3a68", "#1a0b20"),
        (34, 36, 22),
    ),
    Track(
        "paper-boats",
        16,
        "Paper Boats",
        KITE_HARBOUR,
        datetime(2026, 7, 3, 8, 0, tzinfo=UTC),
        "Two kalimbas and a shaker. The pattern turns one step later every time round, the way a paper boat does "
        "when it meets the current.",
        (("Kalimbas", "Tamsin Achterberg"), ("Bass, shaker", "Jo Okonedo")),
        ("kalimba", "acoustic", "bright"),
        Palette("#f3d9b1", "#e4572e", "#2a9d8f", "#123c40"),
        (70, 34, 18),
    ),
    Track(
        "slow-signal",
        15,
        "Slow Signal",
        MOTH_ATLAS,
        datetime(2026, 4, 24, 21, 0, tzinfo=UTC),
        "Held chords and one bell that answers itself across the water. Made for the thirty seconds in which a "
        "lighthouse is looking the other way.",
        (("Everything", "Moth Atlas"),),
        ("ambient", "drone", "bells"),
        Palette("#12302f", "#b9f0d6", "#2b7f78", "#061514"),
        (30, 28, 11),
    ),
    Track(
        "salt-on-the-strings",
        14,
        "Salt on the Strings",
        HALVORSEN,
        datetime(2026, 2, 13, 8, 0, tzinfo=UTC),
        "Ines borrows a harp that spent a winter in a boathouse. It would not leave G, so neither did she.",
        (("Harp", "Ines Halvorsen"), ("Boathouse", "the Skarvik rowing club")),
        ("harp", "acoustic", "folk"),
        Palette("#f2e7cf", "#d9a441", "#5b88b8", "#142f4b"),
        (50, 30, 20),
    ),
    Track(
        "foghorn-lullaby",
        13,
        "Foghorn Lullaby",
        MOTH_ATLAS,
        datetime(2025, 12, 5, 21, 0, tzinfo=UTC),
        "A music box in six-eight, and under it two ships talking in fifths until one of them falls asleep.",
        (("Music box, foghorns", "Moth Atlas"),),
        ("lullaby", "music box", "drone"),
        Palette("#c3cad4", "#fbf6e9", "#8497ad", "#28344a"),
        (62, 34, 24),
    ),
)

TRACK_BY_SLUG = {track.slug: track for track in TRACKS}
ARTIST_BY_SLUG = {artist.slug: artist for artist in ARTISTS}


def by_artist(artist: Artist) -> tuple[Track, ...]:
    return tuple(track for track in TRACKS if track.artist is artist)


def search(query: str) -> tuple[Track, ...]:
    """Tracks that hold every word of `query` somewhere in their title, artist, place, tags or notes."""
    words = query.casefold().split()
    return tuple(
        track
        for track in TRACKS
        if words
        and all(
            word
            in " ".join(
                (
                    track.title,
                    track.artist.name,
                    track.artist.place,
                    track.catalogue,
                    track.about,
                    *track.tags,
                )
            ).casefold()
            for word in words
        )
    )
