"""Runs the edge's tests over the unpacked zip's own files: `make test-zip`."""
