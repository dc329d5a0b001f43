"""From a sparse code to events: grouped, placed between samples, refitted, decided."""
