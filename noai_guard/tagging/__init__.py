"""Reservations in the tags of audio files. Needs `pip install 'noai-guard[tag]'`; signing needs `noai-guard[c2pa]`.

For uploads: `Says(DecisionTable(policy, catalog)).fields("/tracks/song.mp3")` is what the file at a path of the site
has to say, and `tag_file(path, fields)` writes it.
"""

from noai_guard.tagging.credentials import Signer
from noai_guard.tagging.fields import NOTHING, Fields
from noai_guard.tagging.file import Options, Outcome, Result, tag_file, undo_file
from noai_guard.tagging.says import Says
from noai_guard.tagging.undo import UndoFile

__all__ = ["NOTHING", "Fields", "Options", "Outcome", "Result", "Says", "Signer", "UndoFile", "tag_file", "undo_file"]
