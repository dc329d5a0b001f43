"""The views with matplotlib, for papers and docs."""
