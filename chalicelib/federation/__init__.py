"""Credentials of minutes for an assertion of who asks, so that no provider key is kept anywhere."""
