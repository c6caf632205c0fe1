"""Checks wrapped round the table of methods."""
