"""One module per live source."""
