"""Audit of a live site: what its declarations say, and what crawlers and people's software really get.

`probe` makes the requests, `readers` parse the responses, `interpretation` joins them, `checks` find what is wrong,
`report` formats the findings. Only `probe.fetch` does I/O.
"""
