"""What answers the judge's questions."""
