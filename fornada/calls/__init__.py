"""Calls that are answered at once and leave no job behind."""
