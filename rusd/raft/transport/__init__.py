"""Connections and frames between members."""
