"""What both services share: faults over HTTP, keys, metrics, probes, bodies and settings."""
