"""The machinery of a stage: consumer, outputs, recovery."""
