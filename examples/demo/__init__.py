"""The demonstration: the music site, served for real, and visitors that really come."""
