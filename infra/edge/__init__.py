"""Builds the edge function's zip, which Lambda@Edge runs."""
