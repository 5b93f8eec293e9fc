"""Configuration for web servers, one module per server."""
