"""What holds on random input."""
