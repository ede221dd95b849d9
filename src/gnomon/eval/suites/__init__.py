"""The built-in suites: each module has a `SUITE`."""
