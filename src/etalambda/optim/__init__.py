"""The optim room."""
