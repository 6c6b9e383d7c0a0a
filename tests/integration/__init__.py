"""What works only together with the real broker."""
