"""Things that stand in front of a site, one module per interface."""
