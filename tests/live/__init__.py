"""Tests against real servers and the running kernel program."""
