"""The one guarded door to the outside."""
