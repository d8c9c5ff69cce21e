"""The practice parts: an issuer that signs any claims, a provider that accepts made-up keys, and a policy for both.

Never deployed and never used with real keys: `--no-practice` leaves them out.
"""
