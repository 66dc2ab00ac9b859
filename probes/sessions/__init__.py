"""From heads to sessions: pairing requests with replies, and joining the two ends of a connection."""
