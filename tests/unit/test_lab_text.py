"""The lab's decisions and texts, without a lab."""

from __future__ import annotations

import pytest

from lbkit.errors import LbkitError, Refused
from lbkit.lab import control, gateway, image, network, nodes, requirements, settings

V1_AND_UNIFIED = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""


def test_the_environment_names_the_lab() -> None:
    assert settings.current({}) == settings.Lab("lab", 2200)
    assert settings.current({"LBKIT_LAB": "ci-1", "LBKIT_LAB_PORTS": "2300"}) == settings.Lab("ci-1", 2300)


@pytest.mark.parametrize("name", ["../x", "A", "1lab", "a" * 21, "a/b", "a b"])
def test_a_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="Next: "):
        settings.current({"LBKIT_LAB": name})


@pytest.mark.parametrize("ports", ["80", "x", "65500", "-1"])
def test_a_port_that_cannot_be_is_refused(ports: str) -> None:
    with pytest.raises(Refused, match="LBKIT_LAB_PORTS"):
        settings.current({"LBKIT_LAB_PORTS": ports})


def test_down_keeps_what_lies_in_the_labs_directory_of_the_checkout(tmp_path, monkeypatch) -> None:
    lab = settings.Lab("mine", 2600)
    monkeypatch.setattr(settings, "PROJECT", tmp_path)
    monkeypatch.setattr(settings, "STATE", tmp_path / "state")
    monkeypatch.setattr(requirements, "check", lambda: None)
    monkeypatch.setattr(control, "_clear", lambda _lab: True)
    lab.dot.mkdir(parents=True)
    for name in ("id_ed25519", "my-own.toml"):
        (lab.dot / name).write_text("kept")
    assert control.down(lab)
    assert {path.name for path in lab.dot.iterdir()} == {"id_ed25519", "my-own.toml"}


def test_cgroup2_is_found_where_it_is_mounted() -> None:
    assert str(settings.cgroup2_mount("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")) == "/sys/fs/cgroup"
    assert str(settings.cgroup2_mount(V1_AND_UNIFIED)) == "/sys/fs/cgroup/unified"
    with pytest.raises(LbkitError, match="Next: "):
        settings.cgroup2_mount("proc /proc proc rw 0 0\n")


def test_other_vendors_sources_are_not_used_for_the_image() -> None:
    listing = """Debian|bookworm|main|http://mirror.test/debian/
Debian|bookworm-security|main|http://mirror.test/debian-security/
Debian|bookworm|non-free-firmware|http://mirror.test/debian/
Docker|bookworm|stable|http://docker.test/
Vendor|bookworm|main|http://vendor.test/
Ubuntu|jammy|main|http://ubuntu.test/
|bookworm-updates|main|http://mirror.test/debian/
"""
    assert image.machine_sources(listing, "trixie").splitlines() == [
        "deb http://mirror.test/debian-security/ trixie-security main",
        "deb http://mirror.test/debian/ trixie main",
        "deb http://mirror.test/debian/ trixie-updates main",
    ]
    assert image.machine_sources("Ubuntu|jammy|main|http://ubuntu.test/\n", "bookworm") == ""


def test_the_image_is_built_anew_when_its_recipe_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.recipe_hash("bookworm")
    assert before == image.recipe_hash("bookworm") != image.recipe_hash("trixie")
    monkeypatch.setattr(image, "IMAGE_PACKAGES", (*image.IMAGE_PACKAGES, "more"))
    assert image.recipe_hash("bookworm") != before


def test_nothing_of_ours_is_in_the_image() -> None:
    ours = {"haproxy", "keepalived", "certbot", "nginx", "python3-boto3", "inotify-tools", "rsyslog"}
    assert not ours & set(image.IMAGE_PACKAGES)
    assert ours <= set(image.REPOSITORY_PACKAGES)


def test_names_addresses_and_ways_in_are_unique() -> None:
    links = [link for node in nodes.NODES.values() for link in node.links]
    for values in (
        [link.end for link in links],
        [link.address for link in links],
        [link.mac for link in links],
    ):
        assert len(set(values)) == len(values)
    offsets = [offset for offset, _, _ in gateway.entrances()]
    assert len(set(offsets)) == len(offsets)
    assert all(len(link.end) <= 15 for link in links), "the kernel's limit for a name"


def test_every_host_has_one_default_route_by_its_first_link() -> None:
    for node in nodes.NODES.values():
        assert [link.default_route for link in node.links] == [True, *[False] * (len(node.links) - 1)]
        first = node.links[0]
        added = [line for line in network.attach_script(node).splitlines() if "route add default" in line]
        assert f"route add default via {first.gateway}" in added
        assert len(added) == (2 if first.cidr6 else 1)  # one for each kind of address


def test_moving_the_elastic_ip_replaces_all_that_was_translated() -> None:
    assert network.elastic_rules({"198.51.100.10": "10.77.2.12"}).splitlines() == [
        "flush map ip lab public_to_private",
        "flush map ip lab private_to_public",
        "add element ip lab public_to_private { 198.51.100.10 : 10.77.2.12 }",
        "add element ip lab private_to_public { 10.77.2.12 : 198.51.100.10 }",
    ]


def test_a_one_way_cut_names_the_one_way_only() -> None:
    rules = network.partition_rules([(nodes.NODES["lb-1"], nodes.NODES["lb-2"])])
    assert "{ 10.77.1.11 . 10.77.2.12 }" in rules
    assert '{ "l-lb-1" . "l-lb-2" }' in rules
    assert "10.77.2.12 . " not in rules


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requirements.shutil, "which", lambda program, path: None)
    assert any("apt-get install" in why and "mmdebstrap" in why for why in requirements.missing())
    with pytest.raises(LbkitError, match="apt-get install"):
        requirements.check()
    assert set(requirements.PROGRAMS.values()) < set(requirements.PACKAGES)
