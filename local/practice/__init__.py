"""What one practises with: an issuer that signs any claims, a provider that takes made-up keys, and a policy for both.

Never deployed and never used with real keys: `--no-practice` leaves it out.
"""
