"""Ways to find out whether a client is the agent that it claims to be."""
