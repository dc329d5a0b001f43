"""How probable every spike is, and what is expected of units."""
