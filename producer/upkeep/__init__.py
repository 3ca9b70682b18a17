"""Jobs after submission: backlog, retention, retry, verification."""
