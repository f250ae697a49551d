"""Pages for people: one self-contained HTML file, from plain data, that needs no network and no script to be read.

Knows no log, monitor or diagnosis: `diagnosis.webpage` says what there is to show, the templates how it looks.
"""
