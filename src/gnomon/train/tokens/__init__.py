"""Texts to tokens: train a tokenizer, encode a corpus into shards."""
