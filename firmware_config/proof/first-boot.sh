#!/bin/sh
# Inside the container, first boot: install twice, hear, hang, and lose power in good order.
exec >> /proof/first-boot.log 2>&1
set -x
note() { echo "$1=$2" >> /proof/results; }
# shellcheck source=/dev/null
. /proof/microphone.sh

/proof/list-files.sh > /proof/files-before
/proof/birdrec/firmware_config/install.sh --wheels /proof/wheels --no-start
note install_first $?
/proof/birdrec/firmware_config/install.sh --wheels /proof/wheels --no-start
note install_again $?
note systemd "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
systemd-analyze verify /etc/systemd/system/birdrec*.service /etc/systemd/system/birdrec*.timer
note units_verified $?
note exposure "$(systemd-analyze security --no-pager birdrec.service | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p')"
if [ "$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
    udevadm verify /etc/udev/rules.d/85-birdrec-microphone.rules
    note udev_verified $?
fi
make_microphone
/opt/birdrec/current/bin/birdrec config set /etc/birdrec/birdrec.toml microphone.rate_hz 4
note config_set_wrong $?

systemctl start birdrec.service
note active "$(systemctl is-active birdrec.service)"
pid=$(systemctl show -P MainPID birdrec.service)
grep -E '^(CapEff|Seccomp|NoNewPrivs|Uid)' "/proc/$pid/status"
note capabilities "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")"
note network_sockets "$(cat "/proc/$pid/net/tcp" "/proc/$pid/net/udp" | grep -c ':')"
paplay --device=forest /proof/birdrec/examples/*.flac
sleep 20
note live_rows "$(live_rows)"
HOME=/run/proof-pulse /opt/birdrec/current/bin/birdrec doctor --config /etc/birdrec/birdrec.toml --json > /proof/doctor.json
note doctor $?

# When the recorder stops, and when its microphone is opened again: told by the kernel and by
# PulseAudio, so that the gap in the ledger is held against clocks that are not birdrec's.
pactl subscribe | python3 -u -c '
import sys, time
for line in sys.stdin:
    if "source-output" in line and "new" in line:
        print(time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)' > /proof/opened &
sleep 1
note hang_at_boottime_s "$(boottime)"
# Process 0 would be this script itself.
[ "$pid" != 0 ] && kill -STOP "$pid"
waited=0
while [ "$(systemctl show -P MainPID birdrec.service)" = "$pid" ] && [ "$waited" -lt 90 ]; do
    sleep 1
    waited=$((waited + 1))
done
note hang_to_kill_s "$waited"
sleep 30
note opened_at_boottime_s "$(tail -1 /proof/opened)"
note active_after_hang "$(systemctl is-active birdrec.service)"
note restarts "$(systemctl show -P NRestarts birdrec.service)"
systemctl status --no-pager birdrec.service
journalctl --no-pager -u birdrec.service | tail -60
systemctl poweroff
