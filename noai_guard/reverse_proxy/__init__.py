"""Pass requests to an upstream, and its responses back."""
