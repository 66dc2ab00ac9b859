"""Recordings: what was captured, as a pcapng that replays here and that Wireshark opens."""
