"""The panels: what stands between the header and the footer."""
