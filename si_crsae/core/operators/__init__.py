"""Linear maps between codes and traces: convolution, filtering, low-rank factors, Gram."""
