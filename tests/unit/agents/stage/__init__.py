"""The machinery of a stage, without Kafka."""
