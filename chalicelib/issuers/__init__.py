"""Issuers: who vouches for callers, and where the keys are that prove it.

The registry's `Issuer`, the presets for known platforms, AWS identities, and the fetching and caching of key sets.
fetch.py and jwks.py speak to the network, within limits of time and size; the rest is pure. Grants never come in here.
"""
