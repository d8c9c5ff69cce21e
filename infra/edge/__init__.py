"""The edge function: the zip that Lambda@Edge runs, and what builds it."""
