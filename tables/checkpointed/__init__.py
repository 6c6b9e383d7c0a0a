"""The store of a Faust table that is written by checkpoints."""
