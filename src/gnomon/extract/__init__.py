"""Bytes to documents: HTML, feeds, dates, language, canonical addresses."""
