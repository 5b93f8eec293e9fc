"""Shape of a standard, and robots.txt syntax that several standards use. No standard itself stands here."""
