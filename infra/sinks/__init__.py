"""What the sinks need: the schemas registered, the connectors applied, and an operator's look at them."""
