"""The only way from bytes to a vector."""
