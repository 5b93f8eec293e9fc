"""What the guard sends: refusals, documents, and what other responses gain."""
