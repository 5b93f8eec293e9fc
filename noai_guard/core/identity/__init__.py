"""Check the claims of clients to be agents: by published networks, by reverse DNS, by signatures."""
