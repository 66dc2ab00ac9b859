"""Captures: from containers, links and TCP to sessions, with packets that a test wrote."""
