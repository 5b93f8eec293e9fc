"""Requests to the site, and their results."""
