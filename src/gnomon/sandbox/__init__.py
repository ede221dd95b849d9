"""A closed room in which code of unknown intent runs: no network, no files, bounded everything."""
