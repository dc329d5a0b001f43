"""Exchange with other formats."""
