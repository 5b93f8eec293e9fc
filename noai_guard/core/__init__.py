"""The judge and everything it needs: pure, without I/O, clock or framework."""
