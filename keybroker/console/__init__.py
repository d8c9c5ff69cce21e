"""The security team's page: a loopback server that signs requests to the administration with the engineer's own credentials.

It has no power of its own: whatever it shows or does, `keybroker` shows and does with the same credentials.
"""
