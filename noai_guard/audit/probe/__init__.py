"""Visit a live site as crawlers and people do."""
