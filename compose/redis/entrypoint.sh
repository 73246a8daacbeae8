#!/bin/sh
# The configuration goes in through standard input, so that the password
# stands neither in the image nor among the arguments of a process. Sessions
# survive a crash: the append-only file is synced every second.
set -eu

exec redis-server - <<CONF
bind *
protected-mode yes
requirepass $(cat /run/secrets/redis/password)
dir /var/lib/redis
appendonly yes
appendfsync everysec
save ""
maxmemory 512mb
maxmemory-policy noeviction
CONF
