"""Calls that are answered at once and leave no job behind: the channel and its frames."""
