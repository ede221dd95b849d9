"""The doors: the HTTP API in its three shapes, and the page that uses it."""
