"""Verb 1, the exchange: a subject token, or a signed AWS request, becomes an issued token.

Pure but for the ports that it is given: the ledger, the signer and the issuers' keys. HTTP and AWS never come in here.
"""
