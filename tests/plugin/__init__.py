"""The fixtures for tests, `rusd.testing`, and the examples of docs/testing.md."""
