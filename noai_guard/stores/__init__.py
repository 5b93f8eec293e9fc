"""Stores answer the judge's questions."""
