"""Looks at a live site as crawlers do, and says what is wrong with its declarations.

`fetch` is the only module that does I/O. `survey` decides what is asked for, `reading` reads what came back, `checks`
find what is wrong with it.
"""
