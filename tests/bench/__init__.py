"""How fast it is, in ratios measured in one run."""
