"""Metrics for Prometheus: what is measured, a listener that counts events, and what is scraped."""
