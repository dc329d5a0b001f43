"""CRsAE: the auto-encoder of the paper, its learning, and what is built from it."""
