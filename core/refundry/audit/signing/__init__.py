"""Signing the log: checkpoints, keys, anchors and witnesses."""
