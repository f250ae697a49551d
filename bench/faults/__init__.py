"""Programs with the faults that people have, each with a repaired twin: are they found, and the twins left in peace?

Whoever writes rules reads `tuning_*.py` and `opened_*.py` alone. Cases, accepted conditions and causes were chosen by
those who wrote no rule, before anything was judged; the parts differ in data, and some kinds of fault and of network
are held out as a whole.

The part that is held out now and the fifth were written on 2026-12-01, the third and fourth on 2026-11-30, after what
people report in questions, forums and issues: each program says in a comment what kind of report it follows and where
such are found. It is the kind that is rebuilt, no single thread, and no line is taken over.

What is opened now was held out until 2026-11-30, the fourth and fifth parts until 2026-12-01. What was found of each
then stays in the results' file (`when_held_out`) and in the README; rules have been tuned on them since, so later
figures do not measure new programs.

The part `questions` is for tuning: programs in Keras as questions have them, on toy data and small tables, and repaired
in one place as their answers say, so that some twins are far from perfect.

- `causes`: what can be at fault, a sentence each, and the words by which a finding tells it
- `case`: a program, what is wrong with it, and how it comes onto the list
- `run`: what a program is given: data, fastact attached as a user would, and scores
- `tuning_*`, `opened_*`, `opened_2_*`, `opened_3_*`, `opened_4_*`, `opened_5_*`, `held_out_*`: the programs, by part
- `judge`: runs both variants, asks the rules as the log grows, and counts
- `report`: the figures as tables
"""

import os

# Keras imports TensorFlow unless it is told otherwise.
os.environ.setdefault("KERAS_BACKEND", "torch")
