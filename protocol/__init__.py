"""Everything that both ends of the wire must agree on. Pure: no I/O, no clock, no randomness."""
