"""Reports of an audit: for terminals, as JSON, and as SARIF."""
