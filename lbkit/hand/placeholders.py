"""What stands where HAProxy looks for a certificate, as `plan` must know it."""

from lbkit.hand import loaded, pem

CFG = "/etc/haproxy/haproxy.cfg"


def worth(item):
    """{sha256, expired, unfit} of what stands there. expired: a placeholder, and over. unfit: why HAProxy is
    not to take it in; nothing of a file that it has taken in already, for then a reload changes nothing."""
    with open(item["path"], "rb") as file:
        content = file.read()
    mark = loaded.fingerprint(item["path"])
    taken_in = loaded.load_record().get("haproxy.service", {}).get(item["path"]) == mark
    is_ours, why = pem.is_placeholder(content), []
    if is_ours or not taken_in:
        why = pem.inspect(content.decode(errors="replace"), item["names"])["why"]
    return {"sha256": mark and mark[0], "expired": is_ours and bool(why), "unfit": [] if is_ours else why}


def set_up_before():
    """Whether this HAProxy was set up by us, and so may serve with a certificate that is gone."""
    try:
        with open(CFG, errors="replace") as file:
            return "Managed by lbkit" in file.read(512)
    except OSError:
        return False
