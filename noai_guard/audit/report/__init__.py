"""Findings in formats for other tools."""
