"""The recordings, written down as chords and patterns of MIDI pitches."""

from collections.abc import Callable, Iterator

from .synth import Layer, Note, Voice, drum, mix, noise, tone

FELT_PIANO: Voice = (
    Layer((1.0, 0.35, 0.12), attack=0.012, decay=0.9, release=0.4),
    Layer((0.0, 0.3, 0.22, 0.16, 0.09, 0.05), attack=0.004, decay=0.22, release=0.2),
)
KALIMBA: Voice = (
    Layer((1.0, 0.06), attack=0.002, decay=0.42, release=0.2),
    Layer((0.35,), attack=0.001, decay=0.06, ratio=5.4),
)
HARP: Voice = (
    Layer((1.0, 0.45, 0.18), attack=0.003, decay=0.65, release=0.3),
    Layer((0.0, 0.0, 0.3, 0.3, 0.24, 0.18, 0.12, 0.08), attack=0.001, decay=0.12, release=0.2),
)
BELL: Voice = (
    Layer((1.0,), attack=0.004, decay=1.1, release=0.6),
    Layer((0.4,), attack=0.002, decay=0.35, ratio=2.756, release=0.4),
    Layer((0.18,), attack=0.001, decay=0.2, ratio=5.404, release=0.2),
)
RHODES: Voice = (
    Layer((1.0, 0.22, 0.05), attack=0.006, decay=0.8, release=0.25),
    Layer((0.2,), attack=0.002, decay=0.09, ratio=7.0),
)
BASS: Voice = (Layer((1.0, 0.5, 0.2, 0.08), attack=0.012, decay=0.55, release=0.12),)
TIDE: Voice = (
    Layer((1.0, 0.32, 0.2, 0.06), attack=1.6, decay=0, ratio=0.9985, release=2.6),
    Layer((0.7, 0.12, 0.1), attack=2.2, decay=0, ratio=1.0022, release=2.2),
)
SWELL: Voice = (Layer((1.0, 0.5, 0.3, 0.14, 0.06), attack=1.4, decay=0, release=2.4),)
FOGHORN: Voice = (Layer((1.0, 0.7, 0.55, 0.3, 0.18, 0.1), attack=0.5, decay=0, release=1.2),)
MUSIC_BOX: Voice = (
    Layer((1.0, 0.0, 0.12), attack=0.001, decay=0.55, release=0.3),
    Layer((0.3,), attack=0.001, decay=0.14, ratio=3.93),
)


def lanterns_at_low_tide() -> Iterator[Note]:
    """Felt piano, a slow waltz in D: bass on one, the chord on two and three, a melody that leaves room."""
    beat = 60 / 92
    bars = [
        (38, (57, 61, 66), (78, 0, 76)),
        (35, (57, 62, 66), (74, 0, 0)),
        (43, (59, 62, 66), (71, 73, 74)),
        (45, (57, 62, 64), (76, 0, 0)),
        (38, (57, 61, 66), (78, 0, 81)),
        (42, (57, 61, 64), (80, 0, 76)),
        (43, (59, 62, 66), (78, 76, 74)),
        (45, (55, 61, 64), (73, 0, 69)),
        (35, (57, 62, 66), (74, 0, 76)),
        (43, (59, 62, 66), (78, 0, 0)),
        (40, (55, 59, 66), (79, 78, 76)),
        (45, (57, 62, 64), (76, 0, 73)),
        (38, (57, 61, 66), (74, 0, 0)),
    ]
    for bar, (low, chord, melody) in enumerate(bars):
        start = 3 * bar * beat
        yield Note(start, tone(FELT_PIANO, low, 1.9), 14, -0.25)
        for at in (1, 2):
            for pitch in chord:
                yield Note(start + at * beat + 0.012 * (pitch - 57) / 9, tone(FELT_PIANO, pitch, 1.9), 6, -0.1)
        for at, pitch in enumerate(melody):
            if pitch:
                yield Note(start + at * beat + 0.02, tone(FELT_PIANO, pitch, 1.9), 13, 0.3)
    yield Note(39 * beat, tone(FELT_PIANO, 86, 1.9), 7, 0.4)


def paper_boats() -> Iterator[Note]:
    """Kalimba in eighths over four chords in F, the pattern turning one step later on every round."""
    eighth = 30 / 104
    chords = [(41, (65, 69, 72, 76)), (40, (64, 67, 72, 79)), (38, (62, 69, 72, 77)), (46, (65, 70, 74, 81))]
    for bar in range(11):
        low, chord = chords[bar % 4]
        start = 8 * bar * eighth
        if bar == 10:
            low, chord = 41, (65, 69, 72, 77)
        yield Note(start, tone(BASS, low, 1.4), 9)
        if 0 < bar < 10:
            yield Note(start + 5 * eighth, tone(BASS, low + 7, 1.4), 6)
        for step in range(8 if bar < 10 else 4):
            pitch = chord[(step * 3 + bar // 4) % 4] + (12 if step == 6 and bar % 2 else 0)
            yield Note(start + step * eighth, tone(KALIMBA, pitch, 1.2), 12 if step % 4 == 0 else 8, (step - 3.5) / 5)
            if bar > 1:
                yield Note(start + step * eighth, noise(0.09, 0.018, 7), 3 if step % 2 else 1, 0.5)
        if bar > 3:
            yield Note(start, tone(KALIMBA, chord[bar % 3] + 12, 1.2), 7, -0.6)


def slow_signal() -> Iterator[Note]:
    """Held chords that come and go like a lighthouse, and one bell that answers itself across the water."""
    chords = [(39, 58, 62, 65), (36, 58, 63, 65), (44, 60, 63, 67), (34, 58, 62, 65), (39, 58, 62, 67)]
    for turn, (low, *chord) in enumerate(chords):
        yield Note(5.2 * turn, tone(SWELL, low, 5.6), 9)
        for pan, pitch in zip((-0.6, 0, 0.6), chord, strict=True):
            yield Note(5.2 * turn, tone(TIDE, pitch, 5.6), 7, pan)
    bells = [
        (1.8, 82),
        (5.0, 77),
        (7.4, 79),
        (10.9, 84),
        (12.6, 82),
        (15.8, 74),
        (18.1, 77),
        (21.4, 82),
        (24.4, 87),
    ]
    for start, pitch in bells:
        for echo, gain in enumerate((6, 3, 2, 1)):
            yield Note(start + 0.78 * echo, tone(BELL, pitch, 2.6), gain, 0.7 if echo % 2 else -0.5)


def midnight_timetable() -> Iterator[Note]:
    """Electric piano and a patient beat: Dm9, G13, Cmaj9, A7, the last train never quite arriving."""
    beat = 60 / 84
    chords = [(38, (60, 64, 65, 69)), (43, (59, 64, 65, 69)), (36, (59, 62, 64, 71)), (45, (61, 65, 67, 72))]
    for bar in range(8):
        low, chord = chords[bar % 4]
        start = 4 * bar * beat
        for at, gain in ((0, 7), (1.66, 5), (3.0, 4)):
            for pitch in chord:
                yield Note(start + at * beat, tone(RHODES, pitch, 1.6), gain, -0.2)
        if bar:
            for at, step in ((0, 0), (1.5, 0), (2.66, 7), (3.5, -2)):
                yield Note(start + at * beat, tone(BASS, low + step, 0.8), 9)
            for at in (0, 2.5):
                yield Note(start + at * beat, drum(48, 150, 0.35), 9)
            for at in (1, 3):
                yield Note(start + at * beat, noise(0.3, 0.06, 11), 6, 0.15)
            for at in range(8):
                yield Note(start + (at / 2 + (0.08 if at % 2 else 0)) * beat, noise(0.08, 0.015, 5), 3, 0.5)
        if bar > 1:
            melody = ((0.5, 9), (1.0, 12), (2.5, 7)) if bar % 2 else ((1.5, 12), (2.0, 14))
            for at, step in melody:
                yield Note(start + at * beat, tone(RHODES, chord[0] + 12 + step, 1.6), 4, 0.5)
    for pitch in (38, 57, 60, 64, 65):
        yield Note(32 * beat, tone(RHODES, pitch, 1.6), 7)


def foghorn_lullaby() -> Iterator[Note]:
    """A music box in six-eight above two ships that talk in fifths."""
    eighth = 60 / 150
    bars = [
        (45, (76, 72, 69, 74, 72, 69)),
        (41, (72, 69, 65, 77, 76, 72)),
        (48, (79, 76, 72, 74, 72, 67)),
        (43, (74, 71, 67, 79, 74, 71)),
        (45, (76, 72, 69, 81, 79, 76)),
        (41, (77, 72, 69, 76, 72, 69)),
        (38, (74, 69, 65, 77, 74, 69)),
        (40, (71, 68, 64, 76, 71, 68)),
        (45, (76, 72, 69, 74, 72, 69)),
        (45, (81, 0, 0, 0, 0, 0)),
    ]
    for bar, (low, melody) in enumerate(bars):
        start = 6 * bar * eighth
        if bar % 2 == 0:
            yield Note(start, tone(FOGHORN, low, 3.0), 11, -0.5)
            yield Note(start + 2.4, tone(FOGHORN, low + 7, 3.0), 6, 0.5)
        for at, pitch in enumerate(melody):
            if pitch:
                gain = 14 if at == 0 else 10
                yield Note(start + at * eighth * (1 + 0.004 * bar), tone(MUSIC_BOX, pitch + 12, 1.5), gain, 0.2)


def salt_on_the_strings() -> Iterator[Note]:
    """Harp, thumb and two fingers, in a tuning that never leaves G alone."""
    eighth = 30 / 96
    chords = [
        (43, 50, (59, 62, 67)),
        (48, 55, (62, 64, 67)),
        (40, 47, (59, 62, 67)),
        (38, 50, (57, 62, 66)),
    ]
    top = (71, 74, 76, 78, 79, 76, 74, 69, 71, 74)
    for bar in range(10):
        low, fifth, (a, b, c) = chords[bar % 4] if bar < 9 else chords[0]
        start = 8 * bar * eighth
        pattern = (low, a, fifth, c, b, low + 12, a, c) if bar < 9 else (low, fifth, a, b, c, 71, 74, 79)
        for step, pitch in enumerate(pattern):
            at = start + step * eighth * (1 if bar < 9 else 0.5)
            yield Note(at, tone(HARP, pitch, 1.6), 14 if step in (0, 4) else 10, (step % 3 - 1) / 2)
        if bar < 9:
            yield Note(start, tone(HARP, top[bar], 1.6), 12, 0.25)
            yield Note(start + 5 * eighth, tone(HARP, top[bar + 1] - (12 if bar % 3 == 2 else 0), 1.6), 9, -0.25)


PIECES: dict[str, Callable[[], Iterator[Note]]] = {
    "lanterns-at-low-tide": lanterns_at_low_tide,
    "paper-boats": paper_boats,
    "slow-signal": slow_signal,
    "midnight-timetable": midnight_timetable,
    "foghorn-lullaby": foghorn_lullaby,
    "salt-on-the-strings": salt_on_the_strings,
}


def record(slug: str) -> bytes:
    """The WAV file of a piece; KeyError when there is no such piece."""
    return mix(PIECES[slug]())
