"""The servers that a newcomer has not installed: a one-node Kafka on a JRE from a wheel."""
