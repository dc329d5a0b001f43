"""Exchange of recordings and sortings with other libraries; `neo` is the only one so far."""
