#!/bin/sh
# Makes the cluster when there is none, then runs the server. The cluster is
# made beside its place and moved there whole: one that was interrupted is
# never taken for a finished one.
set -eu

volume=/var/lib/postgresql/data
data=$volume/main
secrets=/run/secrets/postgres

if [ ! -d "$data" ]; then
  new=$volume/new
  rm -rf "$new"
  # The stage is unlike a laptop on purpose: a Norwegian collation, Oslo time.
  initdb --pgdata="$new" --username=postgres --pwfile="$secrets/superuser_password" \
    --encoding=UTF8 --locale-provider=icu --icu-locale=nb-NO --locale=C.UTF-8 \
    --auth-local=trust --auth-host=scram-sha-256 --no-sync >/dev/null
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  cat >>"$new/postgresql.conf" <<CONF
listen_addresses = '*'
max_connections = 200
timezone = 'Europe/Oslo'
log_timezone = 'UTC'
shared_buffers = 256MB
CONF
  # Single-user mode needs a statement on one line each.
  {
    echo "CREATE DATABASE p2k16;"
    for role in python go guard; do
      echo "CREATE ROLE $role LOGIN PASSWORD '$(cat "$secrets/${role}_password")';"
    done
    echo "GRANT pg_monitor TO guard;"
  } | postgres --single -D "$new" postgres >/dev/null
  sync
  mv "$new" "$data"
fi

exec postgres -D "$data"
