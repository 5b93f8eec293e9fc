"""Two hosts of four workers behind one nginx, which count together in one Redis."""
