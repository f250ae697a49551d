"""Mutants: the repaired programs of the faults, each with one general mistake put in from outside.

The programs of `bench.faults` show each mistake in two or three networks. Here some fifty mistakes are crossed with a
few hundred sound programs, so that one sees whether a rule finds a kind of mistake or the two programs that had it.
The program's own code is not changed: a mistake is put into the optimiser as it is made, into the model as it is
watched, into batches as they are drawn. Run ``python -m bench.faults.mutants --sample 400``.
"""
