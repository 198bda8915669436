"""Screenplays in the formats of other projects, one module each.

A module has `matches(value)`, which recognises a JSON value by its structure,
and `read(value, where)`, which returns documents in cinejax's own format
(film/screenplay.py), one a film. What has no counterpart is named in a note.
`detect` holds the list of formats; film/exporting.py writes them.
"""
