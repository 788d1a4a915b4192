#!/bin/sh -e
# A stage for pi-gen (Raspberry Pi OS's own image maker): the image of the stage before, and birdrec.
if [ ! -d "${ROOTFS_DIR}" ]; then
    copy_previous
fi
