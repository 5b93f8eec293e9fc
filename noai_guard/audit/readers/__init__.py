"""Parsers for what a site publishes; strict about form, never failing on bad input."""
