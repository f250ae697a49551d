"""Why a layer is sick: hypotheses, a file for each kind of trouble, and how the best of them is chosen (`cause`)."""
