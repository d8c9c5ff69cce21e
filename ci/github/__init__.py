"""The steps of the GitHub Action (action.yml), run by the runner's own Python."""
