"""The integrations room."""
