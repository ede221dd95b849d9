"""Files that people handed in, and the collections that they are searched in."""
