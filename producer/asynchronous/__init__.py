"""The client for services that are asynchronous themselves."""
