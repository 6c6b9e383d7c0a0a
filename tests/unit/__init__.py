"""What one function or one small process does."""
