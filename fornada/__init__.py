"""Batch inference for Keras models on Celery and S3."""

__version__ = "0.1.0"
