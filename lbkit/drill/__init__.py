"""failover-test: breaks the node in charge on purpose and measures what clients saw. A procedure.

    cases.py    what can be broken, how it is undone, what must come of it: pure
    before.py   when it refuses, and what it asks first
    run.py      one case after the other: break, watch, mend, send the address home
    probe.py    the prober outside, and the connections that stay open
    figures.py  outage, one clock for all hosts, the timeline's moments: pure
    result.py   what a case showed, whether it passed, and why not: pure
    show.py     the table and the JSON
    page.py     the HTML report, from report.html.j2

What is broken is first armed on the host to undo itself (a systemd timer), so the operator's machine may die
at any moment.
"""

from lbkit.drill.cases import CASES, NAMES
from lbkit.drill.figures import measure
from lbkit.drill.probe import ANSWER_WITHIN_S, PROBE_EVERY_S

__all__ = ["ANSWER_WITHIN_S", "CASES", "NAMES", "PROBE_EVERY_S", "measure"]
