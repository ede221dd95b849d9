"""Question to plan, evidence, sentences and verdicts."""
