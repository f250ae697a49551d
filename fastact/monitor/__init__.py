"""Watching a run: what is recorded in a step becomes rows of the history and of the log, and alerts."""
