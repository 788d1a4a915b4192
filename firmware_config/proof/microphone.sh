#!/bin/sh
# Sourced: a microphone without hardware, a PulseAudio server of its own, reached by ALSA's plug-in.
make_microphone() {
    /opt/birdrec/current/bin/birdrec config set /etc/birdrec/birdrec.toml microphone.device pulse microphone.rate_hz 48000
    note config_set $?
    mkdir -p /run/systemd/system/birdrec.service.d
    cat > /run/systemd/system/proof-pulse.service <<'UNIT'
[Service]
# Not the recorder's: what systemd does when the last process of a user ends must happen here too.
User=daemon
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
}

live_rows() {
    grep -c '"kind":"live"' /var/lib/birdrec/station/detections.jsonl
}

boottime() { # seconds since the machine was started: no clock of birdrec
    python3 -c 'import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))'
}
