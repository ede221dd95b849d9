"""The durable bitemporal memory."""
