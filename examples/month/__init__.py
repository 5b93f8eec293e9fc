"""A label's October: a month of events, made up but judged by a real policy, for a report to look at."""
