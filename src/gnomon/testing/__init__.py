"""The demo world, stand-in servers and contract checks. Public: plugin authors use it."""
