"""Use cases: one function each, calling the core to decide and the database to remember."""
