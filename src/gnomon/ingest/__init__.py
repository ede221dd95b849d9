"""Sources to record to index, supervised."""
