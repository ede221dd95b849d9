"""Raw text to a corpus: read, extract, judge, deduplicate, decontaminate, scrub, write, forget."""
