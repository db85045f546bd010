"""stub"""

import re


def wire(text):
    return frozenset(re.findall(r"virtual_router_id\s+\d+|vrrp_version\s+\d", text))
