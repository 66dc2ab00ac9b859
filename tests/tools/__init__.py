"""Programs that derive data files of the project from their sources."""
