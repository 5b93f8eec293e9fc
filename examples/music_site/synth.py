"""A small additive synthesiser that mixes with Python integers.

Theory of operation: a recording is one integer. Frame ``n`` occupies 64 bits at bit ``64 * n``: a signed
32-bit lane for the left channel, then one for the right. Because the lanes are summed as one exact integer, the
whole mixing desk is arithmetic that CPython runs at memory speed: a note is placed in time by a shift, panned by
one multiplication with ``left + (right << 32)``, mixed by ``+``, and an echo of the recording is the recording
plus itself shifted. Only the samples of each distinct note are ever computed one by one.
"""

import io
import math
import random
import struct
import sys
import wave
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, cycle, islice, repeat
from operator import mul

RATE = 22_050  # frames per second
_LANE = 32  # bits
_FRAME = 64
# Delays of the echo stages in lanes. An odd number of lanes swaps the channels, so every other echo comes from
# the opposite side; being primes, the delays (about 30 to 230 ms) do not fall on each other.
_ROOM = (1_327, 2_531, 5_167, 10_133)
# Each stage is four parts dry to one part echo, so the mix grows by two bits a stage; the last shift takes
# these back and brings the 14 bits of a note and the 4 bits of a gain down to 16-bit audio.
_STAGE_BITS = 2
_OUTPUT_SHIFT = 11
# Adding this to a double rounds it and leaves it, as an integer, in the low bits of the mantissa: the bytes of
# an array of such doubles are already lanes, at a third less time than calling int() on each sample.
_WHOLE = 1.5 * 2.0**52


@dataclass(frozen=True, slots=True)
class Layer:
    """One set of harmonics under one envelope; a voice is several of them."""

    harmonics: tuple[float, ...]  # amplitude of harmonic 1, 2, ...
    attack: float  # seconds
    decay: float  # time constant in seconds; 0 holds
    ratio: float = 1.0  # of the layer's fundamental to the note's pitch
    release: float = 0.05  # seconds before the end of the note


Voice = tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Note:
    start: float  # seconds
    sound: int  # from `tone` or `noise`
    gain: int  # 0 to 15
    pan: float = 0.0  # -1 left to 1 right


@lru_cache(maxsize=64)
def _envelope(layer: Layer, seconds: float) -> "array[float]":
    # After five time constants a layer is 43 dB down and can be faded out; the rest need not be computed.
    length = min(seconds, layer.attack + 5 * layer.decay) if layer.decay else seconds
    attack, release = max(1, int(layer.attack * RATE)), max(1, int(layer.release * RATE))
    hold = max(0, int(length * RATE) - attack - release)
    rise = ((1 - math.cos(math.pi * i / attack)) / 2 for i in range(attack))
    factor = math.exp(-1 / (layer.decay * RATE)) if layer.decay else 1.0
    body = accumulate(repeat(factor, hold), mul, initial=1.0)
    rest = factor**hold
    fall = (rest * (1 + math.cos(math.pi * i / release)) / 2 for i in range(release))
    return array("d", chain(rise, body, fall))


def _loop(frequency: float, harmonics: tuple[float, ...]) -> list[float]:
    """Whole periods of a tone, as many as bring its length within two cents of a whole number of frames."""
    period = RATE / frequency
    turns = next((k for k in range(1, 40) if abs(k * period - round(k * period)) < 0.001 * k * period), 40)
    length = round(turns * period)
    angle = math.tau * turns / length
    audible = [(amplitude, angle * h) for h, amplitude in enumerate(harmonics, 1) if frequency * h < RATE / 2.2]
    return [sum(amplitude * math.sin(step * i) for amplitude, step in audible) for i in range(length)]


def _lanes(samples: Iterable[float]) -> int:
    """Samples as the left lane of consecutive frames; `samples` are offset by `_WHOLE`."""
    frames = array("d", samples)
    if sys.byteorder == "big":
        frames.byteswap()
    offset = int.from_bytes(struct.pack("<d", _WHOLE) * len(frames), "little")
    return int.from_bytes(frames.tobytes(), "little") - offset


@lru_cache(maxsize=512)
def tone(voice: Voice, pitch: float, seconds: float) -> int:
    """A note of `voice` at MIDI `pitch` (69 is 440 Hz)."""
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    total = sum(sum(layer.harmonics) for layer in voice)
    sound = 0
    for layer in voice:
        scale = 8_000 / total
        loop = [scale * sample for sample in _loop(frequency * layer.ratio, layer.harmonics)]
        sound += _lanes([a * b + _WHOLE for a, b in zip(cycle(loop), _envelope(layer, seconds), strict=False)])
    return sound


@lru_cache(maxsize=64)
def noise(seconds: float, decay: float, seed: int) -> int:
    """A burst of high-passed noise: a shaker, a brush, the sea."""
    chance = random.Random(seed)
    white = [chance.uniform(-4_000, 4_000) for _ in range(int(seconds * RATE) + 1)]
    bright = (b - a for a, b in zip(white, islice(white, 1, None), strict=False))
    return _lanes([a * b + _WHOLE for a, b in zip(bright, _envelope(Layer((), 0.004, decay), seconds), strict=False)])


@lru_cache(maxsize=8)
def drum(low: float, high: float, seconds: float) -> int:
    """A soft kick: a sine that falls from `high` to `low` hertz."""
    step = math.tau / RATE
    sweep = (low + (high - low) * math.exp(-60 * i / RATE) for i in range(int(seconds * RATE)))
    turns = accumulate(step * hertz for hertz in sweep)
    envelope = _envelope(Layer((), 0.002, 0.09), seconds)
    return _lanes([7_800 * math.sin(angle) * b + _WHOLE for angle, b in zip(turns, envelope, strict=False)])


def _joined(seconds: list[int]) -> int:
    """The seconds one after the other; by halves, so that no long number is shifted more than a few times."""
    if len(seconds) == 1:
        return seconds[0]
    half = len(seconds) // 2
    return _joined(seconds[:half]) + (_joined(seconds[half:]) << _FRAME * RATE * half)


def mix(notes: Iterable[Note]) -> bytes:
    """Notes to a stereo 16-bit WAV file, with the room's echoes and a silent half second at the end."""
    seconds: list[int] = []
    for note in notes:
        second, offset = divmod(round(note.start * RATE), RATE)
        left = round(note.gain * min(1.0, 1 - note.pan))
        right = round(note.gain * min(1.0, 1 + note.pan))
        seconds += [0] * (second + 1 - len(seconds))
        seconds[second] += note.sound * (left + (right << _LANE)) << _FRAME * offset
    recording = _joined(seconds)
    for delay in _ROOM:
        recording = (recording << _STAGE_BITS) + (recording << _LANE * delay)
    frames = recording.bit_length() // _FRAME + RATE // 2
    half = int.from_bytes(b"\x00\x00\x00\x80" * (2 * frames), "little")
    # The bias vanishes from the low 16 bits of every lane, which then hold the sample in two's complement.
    lanes = array("H", (recording + half >> _OUTPUT_SHIFT).to_bytes(8 * frames, "little"))
    if sys.byteorder == "big":
        lanes.byteswap()
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, RATE, frames, "NONE", ""))
        out.writeframes(lanes[0::2].tobytes())
    return file.getvalue()
