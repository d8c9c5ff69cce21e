"""API Gateway and CloudFront on one machine: real HTTP in front of the code that Lambda runs, app.py and edge.py.

They do what AWS documents, limits included, and nothing that the AWS services would not do. The product's own rules are
elsewhere.
"""
