"""Tokens: parsing, verifying and issuing JWTs, and the keys that sign them.

The only package that turns a token's text into `Claims`. It knows nothing of issuers, grants or providers: what a token
must be is passed in as `Expected`. No clock, no network and no provider key ever comes in here.
"""
