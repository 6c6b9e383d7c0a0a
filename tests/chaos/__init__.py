"""What survives kills, stops and starvation."""
