"""The engine's tables in Postgres: migrations, in order, and what keeps them in shape."""
