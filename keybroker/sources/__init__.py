"""The identity sources, one module for each: `find(request)` returns a token, or None where the source does not apply.

A source reads the environment it is given, a file, a CI tool or a metadata server, each within a time limit. It raises
IdentityError where it applies but is broken, and never quotes a token. Nothing here contacts the broker or decides
which source is used: keybroker.ambient does.
"""
