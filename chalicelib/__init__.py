"""The broker.

The flat files are the vocabulary: what a principal, a quota, a revocation, an audit event is. Everything else is a room:
a package for one capability. tests/test_layers.py lists the rooms from the outside in; imports never run back.
"""
