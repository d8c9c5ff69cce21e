"""API Gateway and CloudFront on one machine: real HTTP in front of the same doors that Lambda runs.

Imitates what AWS documents, limits included. No rule of the product lives here; what an AWS service would not do, this
must not do either.
"""
