"""Listening sockets, and which protocol a new connection speaks."""
