"""The practice token endpoints of providers that give short-lived credentials to an OIDC identity, as strict as the real ones.

One file per endpoint, each with an `add_routes`. Everything is made up: rules, accounts, credentials. Never deployed.
"""
