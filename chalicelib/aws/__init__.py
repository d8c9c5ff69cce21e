"""AWS: the adapters behind the ports (DynamoDB, KMS, Secrets Manager, CloudWatch), and the wiring of each function.

The only room of the broker that imports botocore or reads the environment. Every call to AWS is bounded in time, and
what AWS cannot do becomes `Unavailable`. Rules do not live here: an adapter asks the noun that it stores.
"""
