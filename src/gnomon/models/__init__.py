"""Language models, embedders and scorers, embedded and remote."""
