"""Keybroker on one machine: broker and edge over HTTP, state in SQLite, and the practice parts. Never deployed to AWS."""
