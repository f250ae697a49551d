"""Whether outputs, losses and targets fit each other, and how they are made to."""
