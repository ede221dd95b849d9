"""Tasks of EleutherAI's lm-eval, asked of models that were trained here."""
