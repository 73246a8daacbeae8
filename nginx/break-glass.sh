#!/bin/sh
# Switches the running nginx to python-only.conf and back. The file that it
# writes has nginx start with that configuration too, and has the guard keep
# its hands off.
#
#   break-glass.sh on ACTOR REASON | off | status
#
# Exit codes: 0 it is so; 2 wrong usage; 3 refused, home is go; 4 the wanted
# configuration does not work, nothing was changed; 5 nginx does not do what it
# was told; 6 refused, nginx would send traffic to go again.
set -euf

state=/var/lib/cutover
file=$state/break-glass
link=/tmp/edge.conf
ordinary=/etc/nginx/nginx.conf
python_only=/etc/nginx/python-only.conf
patience=10 # seconds

fail() {
  code=$1
  shift
  printf '%s\n' "$*" >&2
  exit "$code"
}

home() {
  recorded=$(tr -d '[:space:]' 2>/dev/null <$state/home || true)
  case $recorded in
  python | go) echo "$recorded" ;;
  *) echo "${CUTOVER_HOME-python}" ;;
  esac
}

# Text as a JSON string. What cannot be printed becomes a space.
quote() {
  printf '"%s"' "$(printf %s "$1" | LC_ALL=C tr '\000-\037\177' ' ' | LC_ALL=C sed 's/[\\"]/\\&/g')"
}

# write ACTOR REASON: complete or not at all.
write() {
  { printf '{"actor":%s,"reason":%s,"time":"%s"}\n' "$(quote "$1")" "$(quote "$2")" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    >$file.new && mv $file.new $file; } 2>/dev/null && return
  rm -f $file.new
  return 1
}

# A disk that hangs holds up nobody.
sync_state() {
  timeout 5 sync "$@" $state 2>/dev/null || true
}

# Workers that accept; those that are about to end do not.
workers() {
  set +f
  grep -sla '^nginx: worker process' /proc/[0-9]*/cmdline | while read -r process; do
    grep -sqa 'shutting down' "$process" || echo "$process"
  done
  set -f
}

# Which configuration answers: table, python-only, or none.
answering() {
  perl -MIO::Socket::UNIX -e '
    alarm 2;
    my $socket = IO::Socket::UNIX->new(Peer => shift) or exit print "none";
    print $socket "GET /table HTTP/1.0\r\n\r\n";
    my $answer = do { local $/; <$socket> } // "";
    print $answer =~ /break-glass/ ? "python-only" : $answer =~ m{^HTTP/1\.. 200} ? "table" : "none";
  ' $state/run/edge.sock 2>/dev/null || echo none
}

# is_done WANTED OLD-WORKERS: nobody accepts with the old configuration.
is_done() {
  [ "$(answering)" = "$1" ] || return 1
  for process in $(workers); do
    case " $2 " in
    *" $process "*) return 1 ;;
    esac
  done
}

# switch WANTED CONFIG
switch() {
  old=$(workers | tr '\n' ' ')
  ln -sfn "$2" $link.new && mv -T $link.new $link
  if [ "$(answering)" = "$1" ]; then
    return
  fi
  kill -HUP "$(cat /tmp/nginx.pid)" || return 1
  until=$(($(date +%s) + patience))
  while ! is_done "$1" "$old"; do
    [ "$(date +%s)" -lt $until ] || return 1
    perl -e 'select undef, undef, undef, 0.02'
  done
}

test_config() {
  problem=$(nginx -t -q -c "$1" 2>&1) || fail 4 "$1 does not work, so nothing was changed: $problem"
}

on() {
  if [ "$(home)" = go ]; then
    fail 3 "home is go: python was stopped for good, so nothing is sent there"
  fi
  test_config $python_only
  survives=yes
  write "$1" "$2" || [ -e $file ] || survives=no
  switch python-only $python_only ||
    fail 5 "nginx does not answer with $python_only $patience s after it was told to; it will when it is started anew, if $file could be written: $survives"
  sync_state $file
  if [ $survives = no ]; then
    echo "everything goes to python, but $file cannot be written: this does not survive a restart of nginx" >&2
  fi
}

# The saved table is what nginx goes on with.
off() {
  if [ -e $state/table.json ] && ! grep -Eq '"latched"[[:space:]]*:[[:space:]]*true' $state/table.json; then
    fail 6 "the saved table is not latched, so nginx would send traffic to go again: the guard has to record the rollback first"
  fi
  test_config $ordinary
  switch table $ordinary ||
    fail 5 "nginx does not answer with $ordinary $patience s after it was told to: $file is left in place"
  rm -f $file
  sync_state
}

status() {
  printf 'nginx answers: %s\n' "$(answering)"
  if [ -e $file ]; then
    printf 'when it starts: python-only, %s\n' "$(cat $file)"
  else
    printf 'when it starts: table\n'
  fi
}

exec 9>/tmp/break-glass.lock
flock -w 30 9 || fail 5 "another break-glass.sh is at work"
case $#:${1-} in
3:on) on "$2" "$3" ;;
1:off) off ;;
1:status) status ;;
*) fail 2 "usage: break-glass.sh on ACTOR REASON | off | status" ;;
esac
