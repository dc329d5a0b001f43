"""Which units there are: first templates, rounds of expectation and maximization, changes of structure."""
