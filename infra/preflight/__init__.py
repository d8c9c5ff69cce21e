"""What `make deploy` checks before it starts. It only reads: nothing is changed, whatever is found."""
