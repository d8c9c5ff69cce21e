"""How CI systems get a token: GitHub's action here, snippets of configuration for the others."""
