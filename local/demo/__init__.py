"""`make demo`: the main scenario on this machine, with real HTTP and OpenAI's own SDK; each step checks its result.

It uses Keybroker as its users do: a server in a separate process, called over HTTP and through the SDK.
"""
