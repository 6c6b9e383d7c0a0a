"""The keys of the seals, and their verification."""
