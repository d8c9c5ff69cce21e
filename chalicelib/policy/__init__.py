"""The policy: reading the file, checking it, and saying what it admits.

From text to a tree of nodes with lines, from nodes to `Policy`, and what follows from one: lint, plan, explain, grants.
Pure; only administrators' functions load the reader (PyYAML, msgspec). Stores and HTTP never come in here.
"""
