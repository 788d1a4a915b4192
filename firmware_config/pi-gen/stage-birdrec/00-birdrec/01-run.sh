#!/bin/sh -e
# Put a checkout of birdrec into files/birdrec, and wheels for aarch64 into files/wheels (as `pip
# download` makes them), beside this script; the image then needs no network.
install -d "${ROOTFS_DIR}/root/birdrec"
cp -r files/birdrec/. "${ROOTFS_DIR}/root/birdrec/"
cp -r files/wheels "${ROOTFS_DIR}/root/birdrec/wheels"
on_chroot <<'INSIDE'
/root/birdrec/firmware_config/install.sh --wheels /root/birdrec/wheels --no-start --watchdog
rm -rf /root/birdrec
INSIDE
cat files/birdrec/firmware_config/boot/config.txt >> "${ROOTFS_DIR}/boot/firmware/config.txt"
