"""When a certificate of certbot's is issued, renewed or left alone: every case of the pure decisions."""

from __future__ import annotations

import datetime

import pytest

from lbkit.hand import renewing

DAY = 86400
NOW = 1_795_000_000.0
SERVER = "https://acme.test/dir"
RENEW = {"directory": SERVER, "tries_per_hour": 2}
SITE = {
    "name": "site",
    "domains": ["a.test", "b.test"],
    "key_type": "ecdsa",
    "lineage": "/etc/letsencrypt/live/site",
    "min_days": 14,
}


def iso(at):
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()


def lineage(life=90, left=60, **other):
    """A good one of so many days, of which so many are left."""
    end = NOW + left * DAY
    return {
        "good": True,
        "why": [],
        "names": ["b.test", "A.test"],
        "not_before": iso(end - life * DAY),
        "not_after": iso(end),
        **other,
    }


def seen(found=None, **other):
    good = {"server": SERVER, "key_type": "ecdsa", "in_place": True, "refused": False, "until": None}
    return {"lineage": found, **good, **other}


def decide(what, charge=True, failures=(), **other):
    return renewing.decide(SITE, RENEW, what, charge, list(failures), NOW, **other)


# ── what is wrong with it ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (seen(lineage()), ""),
        (seen(None), "there is none yet"),
        (seen(lineage(good=False, why=["it expired on 2026-01-01"])), "it expired on 2026-01-01"),
        (seen(lineage(names=["a.test"])), "it is for a.test, and shall be for a.test, b.test"),
        (
            seen(lineage(names=["a.test", "b.test", "c.test"])),
            "it is for a.test, b.test, c.test, and shall be for a.test, b.test",
        ),
        (
            seen(lineage(), server="https://staging.test/dir"),
            f"it is from https://staging.test/dir, and shall be from {SERVER}",
        ),
        (seen(lineage(), key_type="rsa"), "its key is rsa, and shall be ecdsa"),
        (seen(lineage(), key_type=None), ""),
    ],
)
def test_it_is_issued_anew_where_it_is_not_what_the_inventory_asks_for(found, why):
    assert renewing.wrong(SITE, SERVER, found) == why
    assert decide(found)[0] == ("issue" if why else "nothing")


# ── when it is renewed ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("life", [6, 45, 47, 64, 90, 398])
def test_renewal_is_due_with_less_than_a_third_of_any_life_left(life):
    assert decide(seen(lineage(life, life / 3 + 0.01)))[0] == "nothing"
    what, why = decide(seen(lineage(life, life / 3 - 0.01)))
    assert (what, why) == ("issue", "less than a third of its life is left")


@pytest.mark.parametrize(("life", "days"), [(6, 1), (45, 7.5), (64, 64 / 6), (90, 14), (398, 14)])
def test_someone_is_told_at_two_weeks_or_of_a_short_life_at_its_last_sixth(life, days):
    def urgent(left):
        end = NOW + left * DAY
        return renewing.is_urgent((end - life * DAY, end), 14, NOW)

    assert not urgent(days + 0.01)
    assert urgent(days - 0.01)


def test_what_is_not_due_is_renewed_on_a_persons_word_alone():
    assert decide(seen(lineage()), asked=True)[0] == "nothing"
    assert decide(seen(lineage()), asked=True, force=True) == ("issue", "asked for")


def test_what_certbot_has_and_is_not_in_place_is_put_there_without_asking_the_issuer():
    assert decide(seen(lineage(), in_place=False))[0] == "deploy"


def test_a_person_who_asks_has_certbots_count_again_where_another_was_refused_in_its_place():
    assert decide(seen(lineage(), refused=True))[0] == "nothing"  # the timer leaves the alarm to be read
    assert decide(seen(lineage(), refused=True), asked=True)[0] == "deploy"
    assert decide(seen(lineage()), asked=True)[0] == "nothing"


# ── by whom ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("charge", [False, None])
@pytest.mark.parametrize("found", [None, lineage(), lineage(left=1), lineage(good=False, why=["it expired"])])
@pytest.mark.parametrize("force", [False, True])
def test_only_the_node_that_is_known_to_be_in_charge_does_anything(charge, found, force):
    assert decide(seen(found, in_place=False), charge, asked=force, force=force)[0] == "nothing"


# ── after failures ───────────────────────────────────────────────────────────────────────────────────────


def ago(*minutes):
    return [NOW - 60 * one for one in minutes]


@pytest.mark.parametrize(
    ("failures", "wait_min"),
    [
        ((), 0),
        (ago(10), 40),
        (ago(60, 10), 90),
        (ago(200, 100, 10), 190),
        (ago(900, 800, 700, 600, 500, 10), 350),  # never longer than six hours
        (ago(51), 0),  # the timer's next run tries again
        (ago(-30), 0),  # a clock that jumped
    ],
)
def test_the_timer_waits_longer_after_each_failure(failures, wait_min):
    what, _ = decide(seen(None), failures=failures)
    assert what == ("later" if wait_min else "issue")
    assert renewing.free_again(failures, NOW, 2) == pytest.approx(NOW + 60 * wait_min)


@pytest.mark.parametrize(
    ("failures", "what"),
    [
        (ago(1), "issue"),
        (ago(2, 1), "later"),
        (ago(61, 1), "issue"),
    ],
)
def test_a_person_need_not_wait_but_for_the_limit_of_the_hour(failures, what):
    does, why = decide(seen(None), failures=failures, asked=True)
    assert does == what
    assert ("2 times within an hour" in why) is (what == "later")


@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_no_hour_has_five_tries_that_fail_whoever_asks_and_however_often_the_address_moves(hosts):
    renew, tries = {**RENEW, "tries_per_hour": renewing.share(hosts)}, [[] for _ in range(hosts)]
    for minute in range(12 * 60):
        now, mine = NOW + 60 * minute, tries[minute % hosts]
        for asked in (False, True):
            if renewing.decide(SITE, renew, seen(None), True, mine, now, asked)[0] == "issue":
                mine.append(now)
    every = [at for mine in tries for at in mine]
    assert max(sum(one <= other < one + 3600 for other in every) for one in every) <= 4


# ── who tells of it ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("charge", "left", "said"),
    [
        (True, 1, ""),  # its own failure tells more
        (False, 60, ""),
        (None, 60, ""),
        (False, 3, "no newer one came from the node in charge.\nNext: inv cert.status"),
        (False, -3, "ended on"),
        (None, 3, "nobody knows which node is in charge of renewing it.\nNext: inv status"),
    ],
)
def test_a_node_that_renews_nothing_tells_of_a_certificate_that_nobody_renews(charge, left, said):
    end = NOW + left * DAY
    text = renewing.neglected(SITE, seen(until=(end - 90 * DAY, end)), charge, NOW)
    assert said in text
    assert bool(text) == bool(said)


def test_without_any_certificate_there_is_nothing_to_tell_of():
    assert renewing.neglected(SITE, seen(), None, NOW) == ""
