"""Replaying a log with the installed version."""
