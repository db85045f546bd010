# shellcheck shell=sh
# Sourced by the scripts beside it: the project's root as working directory, words for the operator, and root's
# rights where they are needed.

set -eu
cd "$(dirname "$0")/.."
ROOT=$PWD
VENV=$ROOT/.venv
WHAT=${WHAT:-make}

say() { printf '%s: %s\n' "$WHAT" "$*" >&2; }

# fail WHY NEXT_STEP
fail() {
    say "$1"
    printf 'Next: %s\n' "$2" >&2
    exit 1
}

# quietly COMMAND…: its output is shown only if it fails, and then its last lines
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    code=$?
    tail -n 25 "$log" | sed 's/^/  | /' >&2
    rm -f "$log"
    return "$code"
}

# Whether as_root works: we are root, sudo asks for nothing, or there is somebody whom it can ask.
may_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || return 1
    sudo -n true 2>/dev/null || [ -t 0 ]
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        fail "this takes root, and there is no sudo: $*" "run it as root, or install sudo"
    fi
}

# A program of .venv as root. Only what the lab asks for goes along (sudo's own rules may forbid -E), and no
# file that the operator could not delete stays in the checkout.
venv_as_root() {
    program=$1
    shift
    as_root env PYTHONDONTWRITEBYTECODE=1 ${LBKIT_LAB:+LBKIT_LAB="$LBKIT_LAB"} \
        ${LBKIT_LAB_PORTS:+LBKIT_LAB_PORTS="$LBKIT_LAB_PORTS"} ${LBKIT_LAB_MIRROR:+LBKIT_LAB_MIRROR="$LBKIT_LAB_MIRROR"} \
        ${LBKIT_LAB_SUITE:+LBKIT_LAB_SUITE="$LBKIT_LAB_SUITE"} ${LBKIT_HOSTS:+LBKIT_HOSTS="$LBKIT_HOSTS"} \
        ${CI:+CI="$CI"} PATH="$PATH" "$VENV/bin/$program" "$@"
}

# install_packages NAME…: those of them that are missing are installed; no service is started for it by us
install_packages() {
    missing=
    for package in "$@"; do
        # shellcheck disable=SC2016  # dpkg-query's own ${…}
        status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
        case $status in ii*) ;; *) missing="$missing $package" ;; esac
    done
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null 2>&1 ||
        fail "missing:$missing" "install them with this machine's package manager"
    say "installing with apt-get:$missing"
    # One source that does not answer must not stop us: whether the packages are to be had shows next.
    quietly as_root apt-get -q -o DPkg::Lock::Timeout=120 update || say "apt-get update had errors; going on"
    # Ubuntu's needrestart would ask, or restart services of the operator's machine.
    # shellcheck disable=SC2086  # a list of names
    quietly as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l \
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install --no-install-recommends $missing ||
        fail "apt-get could not install$missing" "mend what it says above, then run the same again"
}
