"""Networks built from `core`."""
