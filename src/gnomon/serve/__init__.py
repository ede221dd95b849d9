"""The HTTP doors and the first page."""
