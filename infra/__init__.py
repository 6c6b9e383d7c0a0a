"""Wiring: the app, settings, command line, embedded broker, supervisor."""
