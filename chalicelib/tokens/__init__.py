"""Tokens: parsing, verifying and issuing JWTs, and the keys that sign them.

The only room that turns a token's text into `Claims`. It knows nothing of issuers, grants or providers: what a token has
to be is passed in as `Expected`. No clock, no network and no key of a provider ever comes in here.
"""
