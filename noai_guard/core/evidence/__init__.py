"""One module per observation about a client that no rule knows."""
