"""Calls without a job, as their callers see them: sent together, answered each."""
