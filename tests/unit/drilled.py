"""What was seen in a drill: samples of a prober, and a timeline of both hosts."""

from __future__ import annotations

MOVED = (
    (-0.5, "lb-1", "lbkit-agent", "fit: HAProxy serves"),
    (0.0, "", "drill", "lb-1: HAProxy stopped"),
    (0.11, "lb-1", "lbkit-agent", "unfit: HAProxy was stopped; the peer serves"),
    (0.15, "lb-2", "keepalived", "(lab) Entering MASTER STATE"),
    (0.16, "lb-2", "lbkit-agent", "AssociateAddress 1 begun: elected MASTER"),
    (0.19, "lb-2", "lbkit-agent", "AssociateAddress 1 done in 8 ms"),
    (0.22, "lb-2", "lbkit-agent", "the address is with this node"),
    (3.00, "lb-1", "lbkit-agent", "fit: HAProxy serves again, for 1 s"),
    (4.00, "lb-1", "lbkit-agent", "AssociateAddress 2 done in 8 ms"),
)


def every(begin: float, end: float, bad: tuple[float, float] = (0, 0), step: float = 0.02) -> list:
    """Samples, bad ones between two times."""
    count = round((end - begin) / step)
    at = [round(begin + i * step, 6) for i in range(count)]
    return [(one, 2.0, not bad[0] <= one < bad[1]) for one in at]
