"""Tags inside audio files: the reservation, the owner and the address of the policy."""
