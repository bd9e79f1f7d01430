"""Hand-written in-memory stand-ins for ports."""
