"""`make demo`: real servers with lively traffic on loopback, and the dashboard on them. Nothing of it stays."""
