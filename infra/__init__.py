"""The AWS templates, and the commands that build, deploy and price what they describe."""
