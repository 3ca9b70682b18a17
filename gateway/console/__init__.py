"""The console: pages for people, served by the gateway beside its API."""
