"""One source, taken to its end."""
