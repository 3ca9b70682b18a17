"""Webhooks: callers' services are called when their jobs end."""
