"""The HTTP gateway: jobs, models and predictions for services in any language."""
