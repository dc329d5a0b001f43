"""What keeps the folder of a run whole: one at a time, checksums, logs, files that are trusted."""
