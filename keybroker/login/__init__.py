"""A person's login: the device flow (RFC 8628) at an OIDC issuer of the policy, as a public client without a secret.

issuer       what the issuer says about itself, and requests to it
device_flow  shows a code, and waits until the person has confirmed it in a browser
id_token     what is checked of the tokens before they are kept
store        one file that only its owner can read
session      the token to prove oneself with, refreshed by one process at a time; logout
"""
