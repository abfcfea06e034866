"""Handing the log out: exports and reports."""
