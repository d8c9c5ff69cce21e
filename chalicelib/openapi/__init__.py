"""The OpenAPI 3.1 document of both doors, made of tables. Data and pure functions; nothing is served but by one view."""
