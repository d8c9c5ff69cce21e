"""The command line `keybroker` (extra `[cli]`): one module for each command, and what they share.

stdout is for data only; messages for people go to stderr. A command raises CommandError or KeybrokerError and never
exits by itself; `program` turns them into a message and an exit code (keybroker/cli/command_error.py). Secrets are never
arguments, and no command prints one but `token`. Only the running command's module is imported. No file of a policy is
parsed here: the broker does.
"""
