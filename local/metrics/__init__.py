"""The numbers of one machine and the gateway: every worker adds them up, the parent process shows the sum.

Nothing here is imported unless a server was told to show them.
"""
