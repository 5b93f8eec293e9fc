"""Configuration for services and clusters."""
