"""Plugins as a user would write them, and as README shows them; the tests beside them run them as they are."""
