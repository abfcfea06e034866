"""Many refunds at once: CSV import and reconciliation."""
