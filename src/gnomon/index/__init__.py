"""Find it again within a second; derived from the record and rebuildable."""
