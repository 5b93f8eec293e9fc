"""Kinds of paths, by which listeners are told from crawlers. Only the ending is looked at: a log has no media types."""

AUDIO = r"(?i)\.(?:aac|aif|aiff|flac|m3u8|m4a|m4s|mp3|mp4|mpd|oga|ogg|opus|ts|wav|webm|wma)$"
"""Recordings, their segments and playlists."""

ASSET = r"(?i)\.(?:avif|css|gif|ico|jpe?g|js|json|map|mjs|png|svg|ttf|webmanifest|webp|woff2?)$"
"""What pages are made of. Everything else counts as a page."""
