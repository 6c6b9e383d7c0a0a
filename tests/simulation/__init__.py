"""The stages on an in-memory log, with seeded failures."""
