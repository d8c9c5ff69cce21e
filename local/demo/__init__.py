"""`make demo`: the whole story on this machine, with real HTTP and OpenAI's own SDK, each step checking its facts.

It uses Keybroker from outside, as its users do: a server in a process of its own, HTTP and the SDK.
"""
