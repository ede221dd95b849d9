"""Who may come in: users, keys, sessions, and the list of what they did."""
