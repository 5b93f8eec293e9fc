"""The version of the program; the catalogue has its own (a digest of its files)."""

__version__ = "0.1.0"
