"""Anything that has rows, read into blocks of rows."""
