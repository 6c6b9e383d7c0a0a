"""Views: what the tables hold now, over HTTP, from the worker that owns the key."""
