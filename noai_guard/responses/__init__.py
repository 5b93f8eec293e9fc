"""Responses of the guard: refusals and documents, and the header fields and tags added to other responses."""
