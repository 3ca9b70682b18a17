"""Shared state of running jobs that may be lost: leases, attempts, counters, open jobs."""
