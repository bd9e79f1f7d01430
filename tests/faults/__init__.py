"""Faults on purpose: real processes that are killed while they work, and what they must not lose by it."""
