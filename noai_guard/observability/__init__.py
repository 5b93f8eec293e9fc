"""Metrics, decision log, status page and OpenTelemetry."""
