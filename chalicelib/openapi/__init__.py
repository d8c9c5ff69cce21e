"""The OpenAPI 3.1 document of both doors, made from their tables of routes and from JSON schemas."""
