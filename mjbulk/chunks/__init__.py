"""Rows, collected into the bodies of requests."""
