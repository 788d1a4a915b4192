#!/bin/sh
# Turn Raspberry Pi OS (64-bit) or Debian 12 and later into a recorder. See docs/field-guide.md.
set -eu

usage() {
    cat <<'TEXT'
usage: sudo firmware_config/install.sh [--wheels DIR] [--no-start] [--watchdog] [--timers] [--dry-run]

  --wheels DIR  install from wheels in a folder, without a network
  --no-start    install, but do not start
  --watchdog    the hardware's watchdog too (always on a Raspberry Pi)
  --timers      also a page of results each noon, and a look at the machine four times a day
  --dry-run     say what would be done, and do nothing

Running it again upgrades; /etc/birdrec/birdrec.toml and recordings are never touched.
TEXT
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# Every change to the machine goes through here.
run() {
    if [ "$dry" = 1 ]; then echo "would: $*"; else "$@"; fi
}

place() { # FILE TARGET: put a file of ours, and remember that it is ours, and a folder for it
    folder=$(dirname "$2")
    [ "$dry" = 1 ] || [ -d "$folder" ] || echo "$folder/" >> "$root/folders"
    run install -D -m 0644 "$here/$1" "$2"
    [ "$dry" = 1 ] || echo "$2" >> "$list.new"
}

check_machine() {
    [ "$dry" = 1 ] || [ "$(id -u)" = 0 ] || fail "needs root: sudo $0"
    case "$(uname -m)" in
    x86_64 | aarch64) ;;
    *) fail "$(uname -m) is not supported: use a 64-bit system (aarch64 or x86_64)" ;;
    esac
    command -v systemctl >/dev/null || fail "there is no systemd here"
}

install_packages() {
    missing=
    for package in python3 python3-venv libportaudio2; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # one word for each package
    { run apt-get update -qq && run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; } ||
        fail "apt-get could not install$missing: connect to a network once, or put them on the image"
    [ "$dry" = 1 ] || echo "$missing" >> "$root/apt-packages"
}

check_python() {
    [ "$dry" = 1 ] && ! command -v python3 >/dev/null && return 0
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "needs Python 3.11 or later, this is $(python3 -V 2>&1): use Debian 12 or later"
}

install_birdrec() {
    # A folder of its own for each installation, and a link that changes in one step: a power cut
    # in between leaves the old one.
    new=$root/$(date -u +%Y%m%dT%H%M%SZ)-$$
    run python3 -m venv "$new"
    if [ -n "$wheels" ]; then
        run "$new/bin/pip" install -q --disable-pip-version-check --no-index --find-links "$wheels" birdrec
    else
        run "$new/bin/pip" install -q --disable-pip-version-check "$here/.."
    fi || { rm -rf "$new"; rmdir "$root" 2> /dev/null || :; fail "pip could not install birdrec (see above); nothing was changed"; }
    run ln -sfn "$new" "$root/current.new"
    run mv -T "$root/current.new" "$root/current"
    [ "$dry" = 1 ] && return 0
    for old in "$root"/2*; do
        [ "$old" = "$new" ] || rm -rf "$old"
    done
}

install_files() {
    [ "$dry" = 1 ] || : > "$list.new"
    place systemd/birdrec.service /etc/systemd/system/birdrec.service
    if [ "$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
        place systemd/backoff.conf /etc/systemd/system/birdrec.service.d/backoff.conf
    fi
    for name in birdrec-report birdrec-doctor; do
        place "systemd/$name.service" "/etc/systemd/system/$name.service"
        place "systemd/$name.timer" "/etc/systemd/system/$name.timer"
    done
    place systemd/sysusers.conf /etc/sysusers.d/birdrec.conf
    place systemd/journald.conf /etc/systemd/journald.conf.d/birdrec.conf
    place udev/85-birdrec-microphone.rules /etc/udev/rules.d/85-birdrec-microphone.rules
    if [ "$watchdog" = 1 ]; then
        place systemd/watchdog.conf /etc/systemd/system.conf.d/birdrec.conf
    fi
    if [ -d /etc/chrony/conf.d ]; then
        place time/birdrec.conf /etc/chrony/conf.d/birdrec.conf
    fi
    if ! [ -e /etc/asound.conf ] || grep -qx /etc/asound.conf "$list" 2>/dev/null; then
        place alsa/asound.conf /etc/asound.conf
    fi
    run install -m 0755 "$here/uninstall.sh" "$root/uninstall.sh"
    [ -e "$here/../docs/field-guide.md" ] && run install -m 0644 "$here/../docs/field-guide.md" "$root/field-guide.md"
    [ "$dry" = 1 ] || mv "$list.new" "$list"
}

install_config() {
    run install -d -m 0755 /etc/birdrec
    if ! [ -e /etc/birdrec/birdrec.toml ]; then
        run install -m 0644 "$here/birdrec.toml" /etc/birdrec/birdrec.toml
        run "$root/current/bin/birdrec" config profile /etc/birdrec/birdrec.toml
        # No sound is kept unless somebody says so: the filter for human voices misses some.
        run "$root/current/bin/birdrec" config set /etc/birdrec/birdrec.toml \
            keep.out /var/lib/birdrec/station microphone.wait_s inf keep.audio none
    fi
    run "$root/current/bin/birdrec" config check /etc/birdrec/birdrec.toml ||
        fail "/etc/birdrec/birdrec.toml is wrong (see above): mend it, then run this again"
}

limit_memory() { # of this board, as its profile says
    limits=/etc/systemd/system/birdrec.service.d/memory.conf
    if [ "$dry" = 1 ]; then
        echo "would: write $limits"
        return 0
    fi
    folder=$(dirname "$limits")
    [ -d "$folder" ] || echo "$folder/" >> "$root/folders"
    install -d -m 0755 "$folder"
    "$root/current/bin/birdrec" doctor --suggest --json | python3 -c '
import json, sys
unit = json.load(sys.stdin)["unit"]
print("# As birdrec doctor --suggest says.\n[Service]")
print("MemoryHigh={memory_high_mb}M\nMemoryMax={memory_max_mb}M".format(**unit))' > "$limits"
    grep -qx "$limits" "$list" || echo "$limits" >> "$list"
}

start() {
    run systemd-sysusers /etc/sysusers.d/birdrec.conf
    run install -d -o birdrec -g birdrec -m 0750 /var/lib/birdrec
    # In an image that is only being made, or a plain chroot, no systemd runs.
    if ! [ -d /run/systemd/system ]; then
        run systemctl enable -q birdrec.service
        return 0
    fi
    run systemctl daemon-reload
    run systemctl try-restart systemd-journald.service
    if command -v udevadm >/dev/null; then run udevadm control --reload || true; fi
    run systemctl enable -q birdrec.service
    if [ "$timers" = 1 ]; then
        run systemctl enable -q --now birdrec-report.timer birdrec-doctor.timer
    fi
    if [ "$begin" = 1 ]; then run systemctl restart --no-block birdrec.service; fi
}

main() {
    here=$(cd "$(dirname "$0")" && pwd)
    root=/opt/birdrec list=$root/files
    wheels='' begin=1 watchdog=0 timers=0 dry=0
    while [ $# -gt 0 ]; do
        case "$1" in
        --wheels)
            if [ $# -lt 2 ] || ! [ -d "$2" ]; then fail "--wheels needs a folder"; fi
            wheels=$(cd "$2" && pwd) && shift
            ;;
        --no-start) begin=0 ;;
        --watchdog) watchdog=1 ;;
        --timers) timers=1 ;;
        --dry-run) dry=1 ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
        esac
        shift
    done
    if grep -qs 'Raspberry Pi' /proc/device-tree/model; then watchdog=1; fi
    check_machine
    run install -d -m 0755 "$root"
    install_packages
    check_python
    install_birdrec
    install_files
    install_config
    limit_memory
    start
    [ "$dry" = 1 ] && exit 0
    echo "birdrec is installed. Which microphone: $root/current/bin/birdrec devices, then"
    echo "  sudo $root/current/bin/birdrec config set /etc/birdrec/birdrec.toml microphone.device ID"
    echo "  sudo systemctl restart birdrec; sudo $root/current/bin/birdrec doctor --config /etc/birdrec/birdrec.toml"
}

main "$@"
