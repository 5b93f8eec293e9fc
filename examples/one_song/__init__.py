"""One song and what a site shows of it; each framework beside this folder serves it in its own way."""
