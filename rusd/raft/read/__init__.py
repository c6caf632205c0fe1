"""Linearizable reads without writing to the log (read index)."""
