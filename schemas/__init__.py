"""Facts: what may be said."""
