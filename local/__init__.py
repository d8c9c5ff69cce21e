"""Keybroker on one machine: the broker and the edge over HTTP, SQLite state, and practice parts. Never deployed."""
