"""Whether the hosts can become a pair, before the first set-up. Changes nothing."""

from lbkit.doctor.finding import Finding as Finding
from lbkit.doctor.run import run as run
