"""A request, or a form and its files, become a job."""
