"""Seals and their verification, on logs in memory."""
