"""Programs with the faults that people have, each with a repaired twin: are they found, and the twins left in peace?

Whoever writes rules reads `tuning_*.py` alone. Cases, accepted conditions and causes were chosen by one who wrote no
rule; the parts differ in data, and some kinds of fault and of network are held out as a whole.

- `causes`: what can be at fault, a sentence each, and the words by which a finding tells it
- `case`: a program, what is wrong with it, and how it comes onto the list
- `run`: what a program is given: data, fastact attached as a user would, and scores
- `tuning_*`, `held_out_*`: the programs
- `judge`: runs both variants, asks the rules as the log grows, and counts
- `report`: the figures as tables
"""

import os

# Keras imports TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "torch")
