"""Deep mode: many questions instead of one, a notebook of checked claims, a report."""
