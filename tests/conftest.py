"""Settings that every test shares."""

from hypothesis import settings

# No test is timed: these machines are shared.
settings.register_profile("fastact", deadline=None)
settings.load_profile("fastact")
