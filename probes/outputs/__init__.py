"""What leaves the tool: sessions as JSON records, groups as a table, captured text made harmless."""
