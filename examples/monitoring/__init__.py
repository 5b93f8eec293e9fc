"""Dashboards, rules and alerts for noai-guard's metrics, and a demonstration of all of them at work."""
