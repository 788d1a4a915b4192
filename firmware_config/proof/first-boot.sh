#!/bin/sh
# Inside the container, first boot: install twice, hear, hang, and lose power in good order.
exec >> /proof/first-boot.log 2>&1
set -x
note() { echo "$1=$2" >> /proof/results; }

/proof/list-files.sh > /proof/files-before
/proof/birdrec/firmware_config/install.sh --wheels /proof/wheels --no-start
note install_first $?
/proof/birdrec/firmware_config/install.sh --wheels /proof/wheels --no-start
note install_again $?
/opt/birdrec/current/bin/birdrec config set /etc/birdrec/birdrec.toml microphone.device pulse microphone.rate_hz 48000
note config_set $?
/opt/birdrec/current/bin/birdrec config set /etc/birdrec/birdrec.toml microphone.rate_hz 4
note config_set_wrong $?

# A microphone without hardware: a PulseAudio server of its own, reached by ALSA's plug-in.
mkdir -p /run/systemd/system/birdrec.service.d
cat > /run/systemd/system/proof-pulse.service <<'UNIT'
[Service]
User=birdrec
RuntimeDirectory=proof-pulse
Environment=HOME=/run/proof-pulse XDG_RUNTIME_DIR=/run/proof-pulse
ExecStart=pulseaudio -n --daemonize=no --exit-idle-time=-1 --disable-shm=1 --realtime=0 --high-priority=0 \
  -L "module-native-protocol-unix socket=/run/proof-pulse/native auth-anonymous=1" \
  -L "module-null-sink sink_name=forest rate=48000 channels=1 format=s16le"
UNIT
cat > /run/systemd/system/birdrec.service.d/proof.conf <<'UNIT'
[Service]
Environment=HOME=/run/proof-pulse PULSE_SERVER=unix:/run/proof-pulse/native
WatchdogSec=20
TimeoutAbortSec=10
UNIT
systemctl daemon-reload
systemctl start proof-pulse.service
sleep 2
printf 'pcm.pulse { type pulse }\nctl.pulse { type pulse }\n' > /run/proof-pulse/.asoundrc
export PULSE_SERVER=unix:/run/proof-pulse/native
pactl set-default-source forest.monitor
systemctl start birdrec.service
note active "$(systemctl is-active birdrec.service)"
pid=$(systemctl show -P MainPID birdrec.service)
grep -E '^(CapEff|Seccomp|NoNewPrivs|Uid)' "/proc/$pid/status"
note capabilities "$(sed -n 's/^CapEff:\t//p' "/proc/$pid/status")"
note network_sockets "$(cat "/proc/$pid/net/tcp" "/proc/$pid/net/udp" | grep -c ':')"
paplay --device=forest /proof/birdrec/examples/*.flac
journal=/var/lib/birdrec/station/detections.jsonl
sleep 20
note live_rows "$(grep -c '"kind":"live"' "$journal")"

kill -STOP "$pid"
waited=0
while [ "$(systemctl show -P MainPID birdrec.service)" = "$pid" ] && [ "$waited" -lt 90 ]; do
    sleep 1
    waited=$((waited + 1))
done
note hang_to_kill_s "$waited"
sleep 30
note active_after_hang "$(systemctl is-active birdrec.service)"
note restarts "$(systemctl show -P NRestarts birdrec.service)"
systemctl status --no-pager birdrec.service
journalctl --no-pager -u birdrec.service | tail -60
systemctl poweroff
