"""What both HTTP doors share, and what the public one answers.

Requests come in as plain values and responses leave as plain values: no web framework is imported here.
"""
