"""Parsers of what a site publishes. They are strict about form and never fail on bad input."""
