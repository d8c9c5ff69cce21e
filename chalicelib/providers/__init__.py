"""Providers: the APIs that keys open, each with its paths, its header and the origin that a key may be sent to.

Pure data and rules. A key's value passes through as `ProviderKey`, which redacts itself; it is never read here.
"""
