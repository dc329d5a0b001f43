"""Auto-encoders for observations of the exponential family."""
