"""The pure decisions of every stage."""
