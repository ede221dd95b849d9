"""From record to served model: corpus, tokens, model, trainer, export.

PyTorch is an extra (`gnomon[train]`): only modules that say so import it, and nothing outside
this room imports them at start.
"""
