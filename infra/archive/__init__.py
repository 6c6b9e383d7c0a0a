"""The archive: every topic for good in a bucket, read, proved, and brought back from it alone."""
