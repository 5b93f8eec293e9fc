"""Replay of access logs: what a policy would have done with the requests of yesterday.

`sources` reads files as blocks of whole lines, `formats` says how servers write a line, `parsing` turns a block into
columns, `judge` decides distinct groups, `tally` adds them up in bounded memory, `summary` says what came out.
"""
