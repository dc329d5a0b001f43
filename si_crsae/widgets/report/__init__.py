"""A sorting on one page: it opens offline, in any browser, and prints."""
