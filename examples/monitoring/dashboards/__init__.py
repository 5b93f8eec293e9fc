"""The Grafana dashboards, as data.

To add a panel, add one entry with an id that its board never used. Do it when the program measures the thing, not
before: a panel that is always empty teaches people not to look.
"""

from .agent import AGENT
from .health import HEALTH
from .overview import OVERVIEW

BOARDS = (OVERVIEW, AGENT, HEALTH)
