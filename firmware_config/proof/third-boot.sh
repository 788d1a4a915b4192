#!/bin/sh
# Inside the container, third boot: the same as a package, from dpkg -i to a purge.
exec >> /proof/third-boot.log 2>&1
set -x
note() { echo "package_$1=$2" >> /proof/results; }
# shellcheck source=/dev/null
. /proof/microphone.sh

/proof/list-files.sh > /proof/files-before-package
/proof/birdrec/firmware_config/make-deb /proof/wheels /proof
note made $?
dpkg -i /proof/birdrec_*.deb
note install $?
dpkg -i /proof/birdrec_*.deb
note install_again $?
make_microphone
systemctl restart birdrec.service
note active "$(systemctl is-active birdrec.service)"
paplay --device=forest /proof/birdrec/examples/*.flac
sleep 20
note live_rows "$(live_rows)"
dpkg -r birdrec
note remove $?
note active_after_remove "$(systemctl is-active birdrec.service)"
note recorded_after_remove "$(live_rows)"
dpkg --purge birdrec
note purge $?
systemctl stop proof-pulse.service
/proof/list-files.sh > /proof/files-after-package
systemctl poweroff
