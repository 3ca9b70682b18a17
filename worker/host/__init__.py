"""The process and its machine: hardware, health, deadlines, supervision."""
