"""Groups of commands that `gnomon.cli` puts together."""
