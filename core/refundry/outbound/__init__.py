"""Calls to providers: signing, pacing and the only outgoing I/O."""
