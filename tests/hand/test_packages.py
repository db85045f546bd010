"""What is asked of apt. A mock in place of it: the real one would install packages here."""

from __future__ import annotations

from lbkit.hand import packages


def test_no_package_of_the_hosts_own_is_removed_for_one_of_ours(tmp_path, monkeypatch):
    """rsyslog's would put syslog-ng out: apt refuses, and says what stands in the way."""
    said = tmp_path / "said"
    for name in ("apt-get", "dpkg"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> {said}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(packages, "APT_LOCKS", ())
    packages.write({"names": ["rsyslog"]}, lambda _line: None)
    (install,) = [line for line in said.read_text().splitlines() if "apt-get install" in line]
    assert "--no-remove" in install.split()
