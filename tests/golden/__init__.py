"""What users can observe today, frozen: states of sweeps, machine code for GPUs, logs and verdicts, public names.

`python -m tests.golden.make` makes what is stored anew, on any commit; the tests here compare with it. A change that
makes a test fail changes what users see: that must be meant, and then the stored part is made anew and committed with
the change. All that these files know of fastact besides its public names is in `inner`.
"""
