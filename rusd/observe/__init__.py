"""Metrics, the readings behind them, and health checks as data."""
