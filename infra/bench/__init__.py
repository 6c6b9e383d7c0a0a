"""How fast the engine is on this machine: load, probes, and the table they end in."""
