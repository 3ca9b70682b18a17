"""One item of a job as people see it: what the model was given, and what it gave."""
