"""From rows to findings: rules, what follows from what, and how a diagnosis is shown.

Where rows come from it never asks: so live and replay cannot differ.
"""
