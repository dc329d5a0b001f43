"""The signal, from raw traces to whitened tiles: what is wrong with it, what is left out, how it is filtered."""
