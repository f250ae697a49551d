"""The zoo: real training runs, healthy and sick, on which the diagnosis is judged like a medical test.

`recipes` is the table: networks that train well, and faults that are planted in them as people make them, each with the
conditions, layers and causes that a fair judge may name. `programs` says how they are trained: most answer inputs,
others generate, code or play. `train` makes each into a log; whether the fault did harm is measured against the same
network with the same seed and no fault. `score` replays the logs, diagnoses as they grow, and tells what was found,
where, when and why; `figures` counts it. `python -m bench.zoo`.

No installed package ships a trained network, so the control that was trained before it is watched is one of our own.

Two parts of the table are for tuning rules and thresholds ("tuning", "tuning-2"), and five more: "opened", "opened-3"
and "opened-4", which were held out until 2026-11-30, and "opened-5" and "opened-6", until
2026-12-01. Held-out parts have other
networks, data and seeds; what they say is reported apart and nothing is ever tuned on it. The later parts have the
kinds of network and fault that users report, and share no architecture.
"""
