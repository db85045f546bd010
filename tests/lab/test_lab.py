"""The lab is what it says it is: bare hosts, networks that behave like a VPC's and a LAN's."""

from __future__ import annotations

import concurrent.futures
import subprocess
import time
from collections.abc import Iterator

import pytest

from lbkit.errors import CommandFailed
from lbkit.lab import api, aws, nodes
from lbkit.lab.machine import Machine
from tests.waiting import until

pytestmark = pytest.mark.lab

KEEPALIVED = """
vrrp_instance v {{
  state BACKUP
  interface lan0
  virtual_router_id 50
  priority {priority}
  advert_int 1
  unicast_src_ip {own}
  unicast_peer {{ {peer} }}
  virtual_ipaddress {{ 10.77.9.100/24 dev lan0 }}
}}
"""


@pytest.fixture
def bare(selftest: api.Lab) -> Iterator[api.Lab]:
    """Both balancers bare, lb-1 with the Elastic IP."""
    selftest.reset()
    yield selftest
    selftest.heal()


def ssh(lab: api.Lab, name: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(lab.ssh_argv(name, *command), capture_output=True, text=True, timeout=60)


def who_answers(lab: api.Lab, address: str) -> str | None:
    """The name of the host whose sshd answers at an address, asked from the client outside."""
    scan = ["ssh-keyscan", "-T", "1", "-t", "ed25519", address]
    shown = lab.client_exec(scan, check=False).stdout.split()
    for machine in lab.balancers():
        key = machine.exec(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout.split()[1]
        if shown and shown[2] == key:
            return machine.node.name
    return None


def reaches(machine: Machine, address: str) -> bool:
    return machine.exec(["ping", "-c1", "-W1", address], check=False).returncode == 0


def test_hosts_start_bare(bare: api.Lab) -> None:
    for machine in bare.balancers():
        for package in (
            "haproxy",
            "keepalived",
            "certbot",
            "nginx",
            "python3-boto3",
            "inotify-tools",
            "rsyslog",
        ):
            assert machine.exec(["dpkg", "-s", package], check=False).returncode == 1, package
        assert machine.exec(["systemctl", "--failed", "--no-legend"]).stdout == ""
        assert machine.exec(["ls", "/home/ubuntu"]).stdout == ""


@pytest.mark.parametrize("name", ["lb-1", "lb-2", "client"])
def test_ssh_reaches_an_unprivileged_user_who_may_sudo(selftest: api.Lab, name: str) -> None:
    done = ssh(selftest, name, "id -un; sudo -n id -un; hostname")
    assert (done.returncode, done.stdout.split()) == (0, ["ubuntu", "root", name]), done.stderr


def test_a_lab_that_is_up_is_left_alone(selftest: api.Lab) -> None:
    leader = selftest.host("lb-1").leader()
    assert selftest.up() is False
    assert selftest.host("lb-1").leader() == leader


def test_packages_install_from_the_local_cache(bare: api.Lab) -> None:
    machine, _ = bare.balancers()
    sources = machine.exec(["sh", "-c", "cat /etc/apt/sources.list; ls /etc/apt/sources.list.d"]).stdout
    assert sources == f"deb [trusted=yes] http://{nodes.REPOSITORY_NAME}/ ./\n"
    machine.exec(["apt-get", "update"])
    machine.exec(["apt-get", "-y", "install", "haproxy"], env={"DEBIAN_FRONTEND": "noninteractive"})
    assert machine.exec(["systemctl", "is-active", "haproxy"]).stdout == "active\n"
    unknown = machine.exec(["apt-get", "-y", "install", "no-such-package"], check=False)
    assert unknown.returncode == 100
    assert "Unable to locate package no-such-package" in unknown.stderr


def test_applications_say_who_they_are(selftest: api.Lab) -> None:
    machine, _ = selftest.balancers()
    for name in ("app-1", "app-2"):
        url = f"http://{nodes.NODES[name].address}:{nodes.APP_PORT}"
        assert machine.exec(["curl", "-s", f"{url}/any/path"]).stdout == f"{name}\n"
        assert "200 OK" in machine.exec(["curl", "-sI", f"{url}/health"]).stdout
        headers = machine.exec(["curl", "-s", "-H", "X-Forwarded-Proto: https", f"{url}/headers"]).stdout
        assert "x-forwarded-proto: https\n" in headers


def test_applications_echo_on_a_websocket(selftest: api.Lab) -> None:
    client = (
        "import asyncio, sys, websockets\n"
        "async def main():\n"
        "    async with websockets.connect(sys.argv[1]) as socket:\n"
        "        await socket.send('hello')\n"
        "        print(await socket.recv())\n"
        "asyncio.run(main())"
    )
    for one, other in (("app-1", "app-2"), ("app-2", "app-1")):
        url = f"ws://{nodes.NODES[other].address}:{nodes.APP_PORT}/ws"
        assert selftest.host(one).exec(["python3", "-c", client, url]).stdout == "hello\n"


def test_elastic_ip_has_moved_when_the_call_that_moves_it_is_answered(bare: api.Lab) -> None:
    assert who_answers(bare, nodes.ELASTIC_IP) == "lb-1"
    client = aws.client(bare.settings.aws_url)
    for name in ("lb-2", "lb-1", "lb-2"):
        client.associate_address(AllocationId=aws.ALLOCATION_ID, NetworkInterfaceId=aws.INTERFACE_IDS[name])
        assert bare.elastic_ip_holder() == name
        assert who_answers(bare, nodes.ELASTIC_IP) == name


def test_unowned_address_is_dropped(bare: api.Lab) -> None:
    bare.give_elastic_ip(None)
    assert who_answers(bare, nodes.ELASTIC_IP) is None
    assert not reaches(bare.host("client"), nodes.ELASTIC_IP)
    assert not reaches(bare.host("client"), "198.51.100.99")


def test_private_address_without_eip_has_no_way_out(bare: api.Lab) -> None:
    one, two = bare.balancers()
    outside = nodes.NODES["client"].address
    assert (reaches(one, outside), reaches(two, outside)) == (True, False)
    bare.give_elastic_ip("lb-2")
    assert (reaches(one, outside), reaches(two, outside)) == (False, True)


def test_private_addresses_are_unreachable_from_outside_but_the_lan_is_not(selftest: api.Lab) -> None:
    client = selftest.host("client")
    for name in ("lb-1", "lb-2", "app-1"):
        assert not reaches(client, nodes.NODES[name].address)
    for machine in selftest.balancers():
        assert reaches(client, machine.node.links[1].address)


def test_a_virtual_address_floats_with_keepalived_and_the_client_follows(bare: api.Lab) -> None:
    one, two = bare.balancers()
    for machine, peer, priority in ((one, two, 250), (two, one, 240)):
        machine.exec(["sh", "-c", "apt-get update && apt-get -y install keepalived"])
        text = KEEPALIVED.format(
            priority=priority, own=machine.node.links[1].address, peer=peer.node.links[1].address
        )
        machine.exec(["sh", "-c", "cat > /etc/keepalived/keepalived.conf"], input=text)
    bare.snapshot("keepalived")
    until(lambda: who_answers(bare, nodes.VIRTUAL_IP) == "lb-1")
    one.power_off()
    until(lambda: bare.client_exec(["ping", "-c1", "-W1", nodes.VIRTUAL_IP], check=False).returncode == 0)
    assert nodes.VIRTUAL_IP in two.exec(["ip", "-4", "addr", "show", "lan0"]).stdout
    one.power_on()
    one.wait_ready()
    until(lambda: who_answers(bare, nodes.VIRTUAL_IP) == "lb-1")


def test_a_power_cut_keeps_the_disk_and_loses_the_rest(bare: api.Lab) -> None:
    machine, _ = bare.balancers()
    machine.exec(
        ["sh", "-c", "echo kept > /root/file; ip addr add 10.77.9.100/24 dev lan0; logger -t cut before"]
    )
    machine.exec(["journalctl", "--sync"])
    machine.power_off()
    assert not machine.running()
    assert "before" in machine.journal("-t", "cut")
    with pytest.raises(CommandFailed, match="is off"):
        machine.exec(["true"])
    machine.power_on()
    machine.wait_ready()
    assert machine.exec(["cat", "/root/file"]).stdout == "kept\n"
    assert nodes.VIRTUAL_IP not in machine.exec(["ip", "-4", "addr"]).stdout
    assert ssh(bare, "lb-1", "true").returncode == 0


def test_a_host_whose_power_is_cut_has_no_word_of_it(bare: api.Lab) -> None:
    """It saw its links go, and its journal kept that: what came of it was told as the cause."""
    machine, _ = bare.balancers()
    machine.exec(["systemd-run", "-q", "--unit=links", "ip", "monitor", "link"])
    machine.exec(["ip", "link", "set", "lan0", "mtu", "1400"])
    until(lambda: "mtu 1400" in machine.exec(["journalctl", "-u", "links"]).stdout)
    machine.power_off()
    kept = machine.journal("-u", "links", "-o", "cat")
    assert "mtu 1400" in kept
    assert "state DOWN" not in kept


def test_a_host_reboots_from_inside(bare: api.Lab) -> None:
    machine, _ = bare.balancers()
    before = machine.leader()
    machine.exec(["sh", "-c", "echo net.ipv4.ip_nonlocal_bind=1 > /etc/sysctl.d/60-x.conf"])
    ssh(bare, "lb-1", "sudo systemctl reboot")
    until(lambda: machine.leader() not in (None, before), 30)
    machine.wait_ready()
    assert machine.exec(["sysctl", "-n", "net.ipv4.ip_nonlocal_bind"]).stdout == "1\n"
    assert ssh(bare, "lb-1", "true").returncode == 0
    machine.power_off()
    machine.power_on()
    machine.wait_ready()
    assert machine.exec(["sysctl", "-n", "net.ipv4.ip_nonlocal_bind"]).stdout == "1\n"


def test_who_looks_at_a_host_while_it_reboots_does_not_keep_it_from_that(bare: api.Lab) -> None:
    """nsenter, stopped with its child, left a zombie for which systemd waited twice 90 s. (CI met it.)"""
    machine, _ = bare.balancers()
    before = machine.leader()
    with concurrent.futures.ThreadPoolExecutor() as threads:
        looking = threads.submit(machine.exec, ["sleep", "300"], check=False, timeout_s=300)
        until(lambda: "sleep" in machine.exec(["ps", "-eo", "comm"]).stdout)
        machine.exec(["systemctl", "reboot"], check=False)
        until(lambda: machine.leader() not in (None, before), 60)
        assert looking.result().returncode != 0
    machine.wait_ready()


def states(lab: api.Lab) -> dict[str, str]:
    """Node → its instance's state, by the AWS API."""
    answer = aws.client(lab.settings.aws_url).describe_instances(InstanceIds=list(aws.INSTANCE_IDS.values()))
    found = [one for reservation in answer["Reservations"] for one in reservation["Instances"]]
    names = {instance_id: name for name, instance_id in aws.INSTANCE_IDS.items()}
    return {names[one["InstanceId"]]: one["State"]["Name"] for one in found}


def test_a_host_that_reboots_itself_without_a_goodbye_is_silent_meanwhile_and_keeps_no_address(
    bare: api.Lab,
) -> None:
    machine, _ = bare.balancers()
    before = machine.leader()
    machine.exec(["ip", "addr", "add", f"{nodes.VIRTUAL_IP}/24", "dev", "lan0"])
    assert reaches(bare.host("client"), nodes.VIRTUAL_IP)
    machine.exec(["systemctl", "reboot", "--force", "--force"], check=False)
    until(lambda: machine.leader() is None)
    assert not reaches(bare.host("client"), nodes.VIRTUAL_IP)
    assert states(bare)["lb-1"] == "running"  # as on AWS: the instance is the same
    until(lambda: machine.leader() not in (None, before), 30)
    machine.wait_ready()
    assert nodes.VIRTUAL_IP not in machine.exec(["ip", "-4", "addr"]).stdout


@pytest.mark.parametrize("force", [False, True])
def test_an_instance_stopped_through_the_api_is_a_host_that_is_off(bare: api.Lab, force: bool) -> None:
    machine, _ = bare.balancers()
    client = aws.client(bare.settings.aws_url)
    machine.exec(["journalctl", "--rotate"])
    client.stop_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]], Force=force)
    until(lambda: states(bare) == {"lb-1": "stopped", "lb-2": "running"})
    assert not machine.running()
    assert ("Shutting down" in machine.journal("-t", "systemd")) is not force
    assert bare.elastic_ip_holder() == "lb-1"  # an Elastic IP stays with a stopped instance
    client.start_instances(InstanceIds=[aws.INSTANCE_IDS["lb-1"]])
    until(machine.running)
    machine.wait_ready()
    assert states(bare)["lb-1"] == "running"


def test_a_host_that_is_off_is_a_stopped_instance_however_it_was_switched_off(bare: api.Lab) -> None:
    machine, other = bare.balancers()
    machine.power_off()
    other.exec(["systemctl", "poweroff"], check=False)
    until(lambda: states(bare) == {"lb-1": "stopped", "lb-2": "stopped"})
    assert not reaches(bare.host("client"), other.node.links[1].address)


def test_a_snapshot_is_had_back_and_reset_is_bare(bare: api.Lab) -> None:
    machine, _ = bare.balancers()
    machine.exec(["sh", "-c", "echo one > /root/file; rm /etc/issue"])
    machine.snapshot("one")
    machine.exec(["sh", "-c", "echo two > /root/file; echo x > /etc/issue"])
    machine.snapshot("two")
    machine.exec(["rm", "/root/file"])
    for name, issue in (("one", 2), ("two", 0), ("one", 2)):
        machine.restore(name)
        assert machine.exec(["cat", "/root/file"]).stdout == f"{name}\n"
        assert machine.exec(["ls", "/etc/issue"], check=False).returncode == issue
    machine.reset()
    assert machine.exec(["ls", "/root/file"], check=False).returncode == 2


def test_a_partition_cuts_both_networks_and_leaves_ssh(bare: api.Lab) -> None:
    one, two = bare.balancers()
    assert all(reaches(one, link.address) for link in two.node.links)
    with bare.partition():
        assert not any(reaches(one, link.address) for link in two.node.links)
        assert not any(reaches(two, link.address) for link in one.node.links)
        assert ssh(bare, "lb-1", "true").returncode == ssh(bare, "lb-2", "true").returncode == 0
        assert reaches(one, nodes.NODES["app-1"].address)
    assert all(reaches(two, link.address) for link in one.node.links)


def test_a_partition_may_be_one_way(bare: api.Lab) -> None:
    one, two = bare.balancers()
    with bare.partition(both_ways=False):
        # What lb-2 sends does arrive; the answer does not.
        count = "cat /sys/class/net/lan0/statistics/rx_packets"
        before = int(one.exec(["sh", "-c", count]).stdout)
        assert not reaches(two, one.node.links[1].address)
        assert int(one.exec(["sh", "-c", count]).stdout) > before
    assert reaches(two, one.node.links[1].address)


def test_ssh_cut_leaves_a_session_hanging_and_others_alone(bare: api.Lab) -> None:
    session = subprocess.Popen(bare.ssh_argv("lb-1", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert session.stdin
    assert session.stdout
    session.stdin.write(b"one\n")
    session.stdin.flush()
    assert session.stdout.readline() == b"one\n"
    with bare.ssh_cut("lb-1"):
        session.stdin.write(b"two\n")
        session.stdin.flush()
        assert ssh(bare, "lb-2", "true").returncode == 0
        time.sleep(0.5)
        assert session.poll() is None
    session.stdin.close()
    assert session.stdout.read() == b"two\n"
    assert session.wait(10) == 0


def test_the_way_in_carries_much_both_ways_and_keeps_no_connection(selftest: api.Lab) -> None:
    size, before = 20_000_000, len(_carried(selftest))
    done = subprocess.run(
        selftest.ssh_argv("lb-1", "cat"), input=b"x" * size, capture_output=True, check=True, timeout=60
    )
    assert len(done.stdout) == size
    until(lambda: len(_carried(selftest)) <= before)


def _carried(lab: api.Lab) -> list[str]:
    """Connections to the way in that stand, as the machine sees them."""
    ports = f"( sport >= :{lab.settings.base_port + 1} and sport <= :{lab.settings.base_port + 9} )"
    shown = subprocess.run(["ss", "-tnH", "state", "established", ports], capture_output=True, text=True)
    return shown.stdout.splitlines()


def test_what_set_up_needs_works_in_a_host(bare: api.Lab) -> None:
    machine, _ = bare.balancers()
    machine.exec(["timedatectl", "set-timezone", "Asia/Seoul"])
    machine.exec(["sysctl", "-w", "net.ipv4.ip_nonlocal_bind=1"])
    machine.exec(["sh", "-c", "mkdir /full && mount -t tmpfs -o size=64k tmpfs /full"])
    full = machine.exec(["dd", "if=/dev/zero", "of=/full/x", "bs=1k", "count=100"], check=False)
    assert "No space left on device" in full.stderr
    assert "KST" in machine.exec(["date"]).stdout


def test_the_aws_api_answers_inside_with_known_ids(bare: api.Lab) -> None:
    client = aws.client(bare.settings.aws_url)
    (address,) = client.describe_addresses(AllocationIds=[aws.ALLOCATION_ID])["Addresses"]
    assert address["PublicIp"] == nodes.ELASTIC_IP
    assert address["NetworkInterfaceId"] == aws.INTERFACE_IDS["lb-1"]
    interfaces = client.describe_network_interfaces()["NetworkInterfaces"]
    assert {i["NetworkInterfaceId"]: i["PrivateIpAddress"] for i in interfaces} == {
        aws.INTERFACE_IDS[name]: nodes.NODES[name].address for name in nodes.BALANCERS
    }
    status = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        f"http://{nodes.AWS_ADDRESS}/lab/addresses",
    ]
    assert bare.host("lb-2").exec(status).stdout == "200"
