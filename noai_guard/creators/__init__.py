"""Creators: their wishes for each of their works, and the page on which they set them."""
