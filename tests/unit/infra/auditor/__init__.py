"""Tests of the auditor, over the topics of a small engine in memory."""
