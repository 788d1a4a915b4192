#!/bin/sh
# Every file that a package or an installer may leave; not what the system writes as it runs.
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /proof -o -path /dev \
    -o -path /var/log -o -path /var/tmp -o -path /var/cache -o -path /var/lib/systemd -o -path /root \
    -o -name __pycache__ \) -prune -o -print | grep -v -E '^/etc/(passwd|group|shadow|gshadow)-$' | sort
