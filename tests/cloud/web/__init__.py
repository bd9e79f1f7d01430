"""The portal over HTTP: the real application on a real PostgreSQL."""
