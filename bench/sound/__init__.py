"""Trainings drawn at random: nobody chooses the cases, and those that learn must be met with silence.

A seed draws task, architecture, optimiser, data feed and what is watched; some of the trainings learn and some do not.
What is said of those that learn is an alarm for nothing; what is said of the others is counted apart. Run
``python -m bench.sound --count 400 --seed 1 --logs FOLDER``.
"""
