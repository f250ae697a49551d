"""Watching a run: what is recorded in a step becomes rows of the history and of the log, and alerts.

- `monitor`: `ActivationMonitor`, what a training loop calls
- `declared`: what was said of layers before their first rows
- `layer`: what is kept of a layer between two calls
- `queue`: finished steps on their way into history, log and listeners
- `unseen`: what was to be recorded and was not
- `alerts`: reports findings while the network trains
"""
