"""The independent auditor behind `trading check`."""
