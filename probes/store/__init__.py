"""What is kept of the sessions: their log, and their rates, errors and durations."""
