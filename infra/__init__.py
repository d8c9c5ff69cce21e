"""What is deployed on AWS, and what builds, deploys and prices it."""
