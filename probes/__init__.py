"""Everything up to the session and the store: kernel program, sources, protocols, pairing, headless outputs."""
