"""The views, over the real stages and a log in memory."""
