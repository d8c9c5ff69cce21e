"""The administration: the policy, principals, revocations, usage, audit and keys, as the `/admin` routes answer them.

Each view checks who asks, reads the query and calls a port or a rule. The public door never imports this room.
"""
