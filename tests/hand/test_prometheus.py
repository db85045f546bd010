"""examples/prometheus: the rules before the real promtool. Each alarm fires for its fault, and no other does."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit import agent as program

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/prometheus"
RULES = EXAMPLES / "lbkit.rules.yml"
TEXT = RULES.read_text(encoding="utf-8")
ALERTS = set(re.findall(r"- alert: (\w+)", TEXT))
STEPS = 120  # of 15 s: half an hour

DAY_S = 86400


def flat(value: float) -> str:
    """promtool's notation of a value that stays."""
    return f"{value:g}+0x{STEPS}"


RISING, NEVER = f"0+15x{STEPS}", f"_x{STEPS}"  # the time itself; no sample


def node(host: str, **changed: float | str) -> dict[str, str]:
    """The series of one host; changed: those that are not as they are in a well pair, by their metric."""
    agent = {
        "master": int(host == "lb-1"),
        "holds_address": int(host == "lb-1"),
        "fit": 1,
        "haproxy_serves": 1,
    }
    agent |= {"keepalived_runs": 1, "notices_lost_total": 0}
    values: dict[str, float | str] = {f"lbkit_agent_{name}": value for name, value in agent.items()}
    values |= {f"trouble_{name}": 0 for name in ("haproxy", "keepalived", "split_brain", "api")}
    values |= {"node_up": 1, "haproxy_up": 1, "mtime": RISING, "host_mtime": RISING}
    values |= {"not_after": 60 * DAY_S, "good": 1, "behind": 0, "conflicts": 0, "sync_answers": 1, **changed}
    label = f'cluster="t", host="{host}"'
    names = {
        "node_up": f'up{{job="lbkit-node", {label}}}',
        "haproxy_up": f'up{{job="lbkit-haproxy", {label}}}',
        "host_mtime": f'node_textfile_mtime_seconds{{job="lbkit-node", file="/x/lbkit-host.prom", {label}}}',
        "not_after": f'lbkit_certificate_not_after_seconds{{name="site", {label}}}',
        "good": f'lbkit_certificate_good{{name="site", {label}}}',
        "behind": f"lbkit_sync_behind_items{{{label}}}",
        "conflicts": f"lbkit_sync_conflicts{{{label}}}",
        "sync_answers": f'lbkit_program_answers{{program="sync", {label}}}',
        "alarm": f'lbkit_agent_alarm{{alarm="sync", {label}}}',
        "permission": f'lbkit_agent_alarm{{alarm="permission", {label}}}',
        "certificate_alarm": f'lbkit_agent_alarm{{alarm="certificate-site", {label}}}',
        "mtime": f'node_textfile_mtime_seconds{{job="lbkit-node", file="/x/lbkit-agent.prom", {label}}}',
    }
    series = {}
    for name, value in values.items():
        if name.startswith("trouble_"):
            name = f'lbkit_agent_trouble{{job="lbkit-node", trouble="{name[8:].replace("_", "-")}", {label}}}'
        elif name.startswith("lbkit_"):
            name = f'{name}{{job="lbkit-node", {label}}}'
        series[names.get(name, name)] = value if isinstance(value, str) else flat(value)
    return series


def served(**changed: float | str) -> dict[str, str]:
    """What both exporters of HAProxy and the probe of the endpoint show."""
    values = {"probe_success": 1, "expiry": 60 * DAY_S, "backend": 0, "server": 0} | changed
    at = 'cluster="t", host="lb-1", job="lbkit-haproxy", state="DOWN"'
    probe = 'cluster="t", job="lbkit-endpoint", endpoint="https://a/"'
    names = {
        "probe_success": f"probe_success{{{probe}}}",
        "expiry": f"probe_ssl_earliest_cert_expiry{{{probe}}}",
        "backend": f'haproxy_backend_status{{proxy="apps", {at}}}',
        "server": f'haproxy_server_status{{proxy="apps", server="app-1", {at}}}',
    }
    return {
        names[name]: value if isinstance(value, str) else flat(value) for name, value in values.items()
    } | {f'haproxy_backend_status{{proxy="lbkit-challenge", {at}}}': flat(1)}


def pair(
    first: dict[str, Any] | None = None, second: dict[str, Any] | None = None, **all: Any
) -> dict[str, str]:
    return node("lb-1", **(first or {})) | node("lb-2", **(second or {})) | served(**all)


DEAD = (
    {"node_up": 0, "haproxy_up": 0, "mtime": NEVER}
    | {
        f"lbkit_agent_{name}": NEVER
        for name in (
            "master",
            "holds_address",
            "fit",
            "haproxy_serves",
            "keepalived_runs",
            "notices_lost_total",
        )
    }
    | {f"trouble_{name}": NEVER for name in ("haproxy", "keepalived", "split_brain", "api")}
)
ON_BOTH = {"lbkit_agent_master": 1}
FLAPS = {  # the role and the address, to and fro every minute; promtool may evaluate the groups in any order
    one: dict.fromkeys(
        ("lbkit_agent_master", "lbkit_agent_holds_address"), f"{last}+0x{STEPS - 40} " + turns * 5
    )
    for one, last, turns in (("lb-1", 1, "0 0 0 0 1 1 1 1 "), ("lb-2", 0, "1 1 1 1 0 0 0 0 "))
}

# what is wrong: the series, and the alarms that fire (with their host)
FAULTS: dict[str, tuple[dict[str, str], set[tuple[str, str]]]] = {
    "nothing": (pair(), set()),
    "no node is MASTER": (
        pair({"lbkit_agent_master": 0, "lbkit_agent_holds_address": 0}),
        {("LbkitNoMaster", "")},
    ),
    "both are MASTER": (
        pair(second=ON_BOTH),
        {("LbkitTwoMasters", ""), ("LbkitHolderDiffers", "lb-2")},
    ),
    "the MASTER does not hold the address": (
        pair({"lbkit_agent_holds_address": 0}),
        {("LbkitHolderDiffers", "lb-1")},
    ),
    "the address is with the BACKUP": (
        pair({"lbkit_agent_holds_address": 0}, {"lbkit_agent_holds_address": 1}),
        {("LbkitHolderDiffers", "lb-1"), ("LbkitHolderDiffers", "lb-2")},
    ),
    "the role changes hands again and again": (
        pair(FLAPS["lb-1"], FLAPS["lb-2"]),
        {("LbkitFlapping", "")},
    ),
    "the passive is dead": (
        pair(second=DEAD),
        {("LbkitNodeNotReady", "lb-2"), ("LbkitHaproxySilent", "lb-2")},
    ),
    "the passive's agent is dead, its last words stand": (
        pair(second={"mtime": flat(0)}),
        {("LbkitNodeNotReady", "lb-2"), ("LbkitAgentSilent", "lb-2")},
    ),
    "a dead agent's last words were MASTER, and another was elected": (
        pair({"mtime": flat(0)}, {"lbkit_agent_master": 1, "lbkit_agent_holds_address": 1}),
        {("LbkitNodeNotReady", "lb-1"), ("LbkitAgentSilent", "lb-1")},
    ),
    "the passive has no agent": (
        pair(second=DEAD | {"node_up": 1, "haproxy_up": 1}),
        {("LbkitNodeNotReady", "lb-2"), ("LbkitAgentSilent", "lb-2")},
    ),
    "the passive cannot call AWS": (
        pair(second={"trouble_api": 1}),
        {("LbkitNodeNotReady", "lb-2"), ("LbkitTrouble", "lb-2")},
    ),
    "AWS would not let the passive move the address": (
        pair(second={"permission": 1}),
        {("LbkitHostAlarm", "lb-2")},
    ),
    "the passive's HAProxy does not serve": (
        pair(second={"lbkit_agent_haproxy_serves": 0, "lbkit_agent_fit": 0, "trouble_haproxy": 1}),
        {("LbkitNodeNotReady", "lb-2"), ("LbkitTrouble", "lb-2")},
    ),
    "the passive's keepalived is dead": (
        pair(second={"lbkit_agent_keepalived_runs": 0}),
        {("LbkitNodeNotReady", "lb-2")},
    ),
    "the passive is in maintenance": (
        pair(second={"lbkit_agent_fit": 0}),
        {("LbkitNodeNotReady", "lb-2")},
    ),
    "a notice was lost": (
        pair({"lbkit_agent_notices_lost_total": f"0+0x{STEPS - 20} 1+0x20"}),
        {("LbkitNoticesLost", "lb-1")},
    ),
    "the endpoint does not answer": (pair(probe_success=0), {("LbkitEndpointDown", "")}),
    "a backend has no server": (pair(backend=1), {("LbkitBackendDown", "")}),
    "a server is down": (pair(server=1), {("LbkitServerDown", "")}),
    "HAProxy does not answer the scrape": (pair({"haproxy_up": 0}), {("LbkitHaproxySilent", "lb-1")}),
    "the certificate ends in 13 days": (pair(expiry=13 * DAY_S), {("LbkitCertificateEnds", "")}),
    "the passive has a certificate that ends in 13 days": (
        pair(second={"not_after": 13 * DAY_S}),
        {("LbkitCertificateEnds", "lb-2")},
    ),
    "a file in a certificate's place is not fit": (pair({"good": 0}), {("LbkitCertificateAlarm", "lb-1")}),
    "a renewal failed": (pair({"certificate_alarm": 1}), {("LbkitCertificateAlarm", "lb-1")}),
    "an item has not reached the passive": (pair({"behind": 1}), {("LbkitSyncBehind", "lb-1")}),
    "both sides changed an item": (pair({"conflicts": 1}), {("LbkitSyncBehind", "lb-1")}),
    "the sync raises an alarm": (pair({"alarm": 1}), {("LbkitSyncBehind", "lb-1")}),
    "the sync is dead": (pair({"sync_answers": 0}), {("LbkitProgramSilent", "lb-1")}),
    "nothing tells of certificates and sync any more": (
        pair(second={"host_mtime": flat(0)}),
        {("LbkitProgramSilent", "lb-2")},
    ),
}  # fmt: skip


def promtool(*words: str, expected: int = 0) -> str:
    done = subprocess.run(["promtool", *words], cwd=EXAMPLES, capture_output=True, text=True)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _promtool(needs: Callable[[str], None]) -> None:
    needs("promtool")


def test_rules_and_scrape_configuration_are_accepted() -> None:
    promtool("check", "rules", RULES.name)
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def scenario(series: dict[str, str], fires: set[tuple[str, str]]) -> dict[str, Any]:
    """A test of promtool's: these alarms fire after half an hour, and no other."""
    samples = [
        {"labels": f'{{alertname="{name}"{f", host={chr(34)}{host}{chr(34)}" if host else ""}}}', "value": 1}
        for name, host in sorted(fires)
    ]
    firing = 'max by (alertname, host) (ALERTS{alertstate="firing"})'
    return {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": "29m45s", "exp_samples": samples}],
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_an_alarm_fires_for_its_fault_and_no_other_does(fault: str, tmp_path: Path) -> None:
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [scenario(*FAULTS[fault])]}
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(tests))  # JSON is YAML too
    promtool("test", "rules", str(file))


def test_every_alarm_is_seen_to_fire() -> None:
    assert {name for _, fires in FAULTS.values() for name, _ in fires} == ALERTS


def test_what_an_alarm_says_is_filled_in(tmp_path: Path) -> None:
    one = scenario(*FAULTS["the certificate ends in 13 days"])
    says = "t: a certificate ends in 13.0 days (https://a/ )"
    one["promql_expr_test"] = []
    one["alert_rule_test"] = [{
        "alertname": "LbkitCertificateEnds", "eval_time": "15m",
        "exp_alerts": [{
            "exp_labels": {"severity": "ticket", "sheet": "certificate", "cluster": "t", "job": "lbkit-endpoint",
                           "endpoint": "https://a/"},
            "exp_annotations": {"summary": says, "action": "inv cert.status"},
        }],
    }]  # fmt: skip
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [one]}))
    promtool("test", "rules", str(file))


def test_the_agent_writes_every_metric_that_the_rules_ask_of_it() -> None:
    state = dict.fromkeys(("role", "haproxy", "keepalived", "holder"), "x") | {"cluster": "c", "host": "h"}
    state |= dict.fromkeys(("fit", "moves", "last_move_s", "calls_failed", "reads_failed", "notices_lost"), 1)
    written = program.load().metrics_of(state | {"troubles": {}, "alarms": []})
    asked = set(re.findall(r"\blbkit_agent_\w+", TEXT))
    assert asked
    assert asked <= set(re.findall(r"^# TYPE (lbkit_\w+)", written, re.MULTILINE))


def test_the_host_writes_every_other_metric_that_the_rules_ask_for() -> None:
    asked = set(re.findall(r"\blbkit_(?!agent_)\w+", TEXT))
    assert asked
    assert asked <= set(program.load("host-metrics").HELP)


def test_docs_tell_of_every_alarm_and_metric() -> None:
    page = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(Lbkit\w+)`", page, re.MULTILINE)) == ALERTS
    assert set(re.findall(r"^\| `(lbkit_\w+)", page, re.MULTILINE)) == set(program.load("host-metrics").HELP)
