#!/bin/sh
# Inside the container, second boot: no microphone is there; then nothing of it may be left.
exec >> /proof/second-boot.log 2>&1
set -x
note() { echo "$1=$2" >> /proof/results; }

sleep 30
note without_microphone "$(systemctl show -P SubState birdrec.service)"
note without_microphone_restarts "$(systemctl show -P NRestarts birdrec.service)"
journalctl --no-pager -u birdrec.service | tail -20
/opt/birdrec/uninstall.sh --purge
note uninstall $?
/proof/list-files.sh > /proof/files-after
systemctl poweroff
