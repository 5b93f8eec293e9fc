"""Things that answer the judge's questions."""
