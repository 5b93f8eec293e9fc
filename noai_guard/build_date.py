"""The calendar, for what says when it was made."""

import os
from time import gmtime, strftime, time


def today() -> str:
    """Return the day in UTC, ISO 8601; that of SOURCE_DATE_EPOCH where it is set (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isascii() and epoch.isdigit() and len(epoch) < 12 else time()
    return strftime("%Y-%m-%d", gmtime(seconds))
