"""The adapter to SpikeInterface."""
