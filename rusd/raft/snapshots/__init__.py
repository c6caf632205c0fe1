"""The whole state for a member that the log cannot bring up to date."""
