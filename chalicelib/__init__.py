"""The broker: nouns, two verbs (exchange, admission), and a rim of adapters."""
