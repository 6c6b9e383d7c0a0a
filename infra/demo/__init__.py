"""The demo: a recorded market session through the whole engine, compared with what really happened."""
