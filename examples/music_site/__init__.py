"""Night Ferry Records, an imaginary label: the site that noai-guard is demonstrated on."""
