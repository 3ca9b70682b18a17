"""The endpoints under /v1, and the documents that they take and give."""
