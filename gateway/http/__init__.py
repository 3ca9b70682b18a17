"""What every request passes: its id, its limits, and errors as problem documents."""
