"""The training report: one self-contained HTML page, and its figures as PNG files."""
