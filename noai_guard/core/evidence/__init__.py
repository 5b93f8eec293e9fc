"""Observations about clients that are in no catalogue, one module each."""
