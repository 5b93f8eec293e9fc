"""Players decode the very samples that the site holds, from the start and from where they are told to seek."""

import os
import wave
from collections.abc import Iterator
from hashlib import md5
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.programs import run
from tests.clients.site import AUDIO, PlainSite, Site
from tests.servers import require_program

START, SECONDS = 8, 2
NOBODY = 65534


def samples(wav: bytes, start: float = 0, seconds: float | None = None) -> bytes:
    with wave.open(BytesIO(wav)) as file:
        file.setpos(round(start * file.getframerate()))
        return file.readframes(file.getnframes() if seconds is None else round(seconds * file.getframerate()))


@pytest.mark.client("ffprobe")
def test_ffprobe_tells_the_length(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    said = run(
        tmp_path, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", site.url + AUDIO
    )
    with wave.open(BytesIO(plain.body(AUDIO))) as file:
        assert float(said) == pytest.approx(file.getnframes() / file.getframerate(), abs=1e-3)


@pytest.mark.client("FFmpeg")
def test_ffmpeg_decodes_the_whole_recording(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    said = run(tmp_path, "ffmpeg", "-v", "error", "-i", site.url + AUDIO, "-f", "md5", "-")
    assert said.strip() == f"MD5={md5(samples(plain.body(AUDIO))).hexdigest()}"


def test_ffmpeg_seeks(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    # FFmpeg reads on, rather than ask again, where the socket's buffer may hold what it seeks; Linux lets that grow.
    where = ("-recv_buffer_size", "65536", "-ss", str(START), "-i", site.url + AUDIO, "-t", str(SECONDS))
    said = run(tmp_path, "ffmpeg", "-v", "error", *where, "-f", "md5", "-")
    assert said.strip() == f"MD5={md5(samples(plain.body(AUDIO), START, SECONDS)).hexdigest()}"
    assert max(int(each.range.removeprefix("bytes=").rstrip("-")) for each in site.asked()) > 500_000


def test_ffmpeg_that_says_it_is_bytespider_is_refused(site: Site, tmp_path: Path) -> None:
    said = run(
        tmp_path, "ffmpeg", "-v", "error", "-user_agent", "Bytespider", "-i", site.url + AUDIO, "-f", "md5", "-", code=1
    )
    assert "403" in said


@pytest.mark.client("mpv")
def test_mpv_plays_from_where_it_is_told_to(site: Site, plain: PlainSite, tmp_path: Path) -> None:
    quiet = ("--no-config", "--no-video", "--no-ytdl", "--really-quiet")
    out = ("--ao=pcm", "--ao-pcm-file=heard", "--ao-pcm-waveheader=no", f"--start={START}", f"--length={SECONDS}")
    run(tmp_path, "mpv", *quiet, *out, site.url + AUDIO)
    heard = (tmp_path / "heard").read_bytes()
    assert heard
    assert heard in samples(plain.body(AUDIO), START - 1, SECONDS + 2)
    assert {each.status for each in site.asked()} == {206}


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """A folder that the user "nobody" may write to and reach; pytest's own are closed to others."""
    with TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        yield Path(folder)


@pytest.mark.client("VLC")
def test_vlc_plays_from_where_it_is_told_to(site: Site, plain: PlainSite, request: pytest.FixtureRequest) -> None:
    as_root = os.geteuid() == 0  # which VLC refuses to run as
    home = request.getfixturevalue("home_of_nobody" if as_root else "tmp_path")
    nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if as_root else ()
    heard = home / "heard.wav"
    out = f"#transcode{{acodec=s16l,channels=2,samplerate=22050}}:std{{access=file,mux=wav,dst={heard}}}"
    vlc = (require_program("cvlc", "vlc-bin vlc-plugin-base"), "--intf", "dummy", "--no-dbus", "--quiet", "--sout", out)
    run(home, *nobody, *vlc, f"--start-time={START}", f"--run-time={SECONDS}", site.url + AUDIO, "vlc://quit")
    played = samples(heard.read_bytes())
    assert played
    assert played in samples(plain.body(AUDIO), START - 1, SECONDS + 2)
