"""The policy: reading the file, checking it, and deciding what it admits.

From text to nodes with lines (yaml_parser), to typed entries (reader, schema), to a `Policy` (compile), and what follows
from that: lint, plan, explain, grants. Pure; only the administration loads the reader (PyYAML, msgspec). Stores and HTTP
never come in here.
"""
