"""Settings, policies and files of the wiring."""
