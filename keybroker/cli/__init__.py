"""The command line `keybroker` (extra `[cli]`).

stdout is for data only; everything for people goes to stderr. Exit codes: keybroker/cli/failure.py.
"""
