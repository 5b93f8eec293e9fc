"""python -m noai_guard"""

from noai_guard.cli import main

main(prog_name="noai-guard")
