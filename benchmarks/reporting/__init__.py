"""What a run found: its table, record and chart, beside the targets."""
