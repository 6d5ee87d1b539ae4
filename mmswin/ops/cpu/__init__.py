"""What processors need: each file says why it is there and what it gains."""
