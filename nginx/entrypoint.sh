#!/bin/sh
# Starts what the arguments name: nginx, or the guard from the same image.
set -eu

if [ "$1" = nginx ]; then
  mkdir -p /var/lib/cutover/run
  # nginx does not start over a socket file that a killed nginx left behind.
  rm -f /var/lib/cutover/run/edge.sock
fi
exec "$@"
