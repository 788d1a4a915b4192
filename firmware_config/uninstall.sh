#!/bin/sh
# Take away what install.sh has put on a machine. See docs/field-guide.md.
set -eu

usage() {
    cat <<'TEXT'
usage: sudo /opt/birdrec/uninstall.sh [--purge] [--dry-run]

  --purge    also /etc/birdrec, and EVERYTHING RECORDED in /var/lib/birdrec
  --dry-run  say what would be done, and do nothing
TEXT
}

run() {
    if [ "$dry" = 1 ]; then echo "would: $*"; else "$@"; fi
}

main() {
    purge=0 dry=0
    for word in "$@"; do
        case "$word" in
        --purge) purge=1 ;;
        --dry-run) dry=1 ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && exit 2 ;;
        esac
    done
    if [ "$dry" = 0 ] && [ "$(id -u)" != 0 ]; then
        echo "uninstall.sh: needs root: sudo $0" >&2
        exit 1
    fi
    root=/opt/birdrec
    if ! [ -e $root/files ]; then
        echo "uninstall.sh: nothing is installed ($root/files is not there)" >&2
        exit 1
    fi
    units='birdrec.service birdrec-report.timer birdrec-doctor.timer'
    if [ -d /run/systemd/system ]; then
        # shellcheck disable=SC2086 # one word for each unit
        run systemctl stop $units || true
    fi
    # shellcheck disable=SC2086
    run systemctl disable -q $units || true
    while read -r file; do
        run rm -f "$file"
    done < $root/files
    if [ -e $root/folders ]; then
        while read -r folder; do
            # Somebody else may have put something into it.
            run rmdir "$folder" 2>/dev/null || true
        done < $root/folders
    fi
    if [ -d /run/systemd/system ]; then
        run systemctl daemon-reload
        run systemctl reset-failed birdrec.service 2>/dev/null || true
        run systemctl try-restart systemd-journald.service
        if command -v udevadm >/dev/null; then run udevadm control --reload || true; fi
    fi
    if [ -s $root/apt-packages ]; then
        echo "Packages that were added, and may be wanted by others now:$(tr '\n' ' ' < $root/apt-packages)"
    fi
    run rm -rf $root
    if [ "$purge" = 1 ]; then
        run rm -rf /etc/birdrec /var/lib/birdrec
        if id birdrec >/dev/null 2>&1; then run userdel birdrec; fi
        if getent group birdrec >/dev/null; then run groupdel birdrec; fi
    else
        echo "Kept: /etc/birdrec, /var/lib/birdrec (all that was recorded) and their user; --purge removes them."
    fi
}

main "$@"
