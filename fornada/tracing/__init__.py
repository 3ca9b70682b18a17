"""Traces, for whoever asks for them: what a request or a job spent its time on.

Nothing here imports OpenTelemetry until `open_traces` or `export_traces` finds it asked for.
"""
