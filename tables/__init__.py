"""State: what is remembered and how it moves."""
