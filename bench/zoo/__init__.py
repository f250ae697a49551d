"""The zoo: real training runs, healthy and sick, on which the diagnosis is judged like a medical test.

`recipes` is the table: networks that train well, and faults that are planted in them as people make them. `train` makes
each into a log and measures whether the fault did harm, against the same network with the same seed and no fault.
`score` replays the logs, diagnoses as they grow, and counts what was found, where and when. `python -m bench.zoo`.

No installed package ships a trained network, so the control that was trained before it is watched is one of our own.

One part of the table is for tuning rules and thresholds. The other one, held out, has other networks, data and seeds;
what it says is reported apart and nothing is ever tuned on it.
"""
