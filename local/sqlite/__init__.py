"""The state of one machine: one SQLite file in WAL mode behind the same ports as DynamoDB.

Several threads and processes share it, and it survives `kill -9`. Only this room writes SQL.
"""
