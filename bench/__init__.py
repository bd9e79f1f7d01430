"""Measures the way of telemetry, from a device's PUBLISH to the committed row, beside two other consumers."""
