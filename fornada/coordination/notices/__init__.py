"""Tell whoever waits for a job that it has ended or goes on."""
