"""A diagnosis for people: as text, in a terminal, in a notebook, in a page."""
