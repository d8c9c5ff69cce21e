"""Verb 2, the edge: a call with a token becomes the call with the key.

Loaded by every cold start at the edge, so it imports neither the policy's reader nor the issuers. Pure but for the ports
that it is given. A token comes in as `unverified_token`; the key leaves in `Admitted` and is revealed by the door alone.
"""
