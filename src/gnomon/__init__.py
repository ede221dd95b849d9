"""Gnomon: a self-hosted AI that knows what is happening now, and proves what it says."""

__version__ = "0.1.0"
