"""Recordings: what is written, read again by a small reader of the tests' own and by tshark."""
