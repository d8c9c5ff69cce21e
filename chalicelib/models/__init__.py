"""Models: which model a call names, and where in its body, its form or its path it does so.

Pure readers of bytes that a client sent; anything with two readings is refused. Grants and state never come in here.
"""
