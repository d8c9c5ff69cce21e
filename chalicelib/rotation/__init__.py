"""Rotation: a provider key is replaced by a new one while calls go on, by the provider's own API where it has one."""
