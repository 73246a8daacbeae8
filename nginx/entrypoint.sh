#!/bin/sh
# Starts what the arguments name: nginx, or the guard from the same image.
set -euf

state=/var/lib/cutover
settings=/tmp/settings.conf

# refuse VARIABLE VALUE WHAT-IT-MUST-BE
refuse() {
  printf '%s must be %s, not "%s"\n' "$1" "$3" "$2" >&2
  exit 1
}

# number VARIABLE VALUE LEAST MOST
number() {
  case $2 in
  '' | *[!0-9]* | 0* | ??????*) ;;
  *) [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ] || return 0 ;;
  esac
  refuse "$1" "$2" "a whole number from $3 to $4"
}

# address VARIABLE VALUE
address() {
  port=${2##*:}
  name=${2%:*}
  case $port in
  '' | *[!0-9]* | 0* | ??????*) port=0 ;;
  esac
  case $2 in
  *:*) ;;
  *) port=0 ;;
  esac
  case $name in
  '' | *[!A-Za-z0-9._-]*) port=0 ;;
  esac
  [ "$port" -ge 1 ] && [ "$port" -le 65535 ] ||
    refuse "$1" "$2" 'NAME:PORT or an IPv4 address with a port from 1 to 65535'
}

# networks VALUE
networks() {
  perl -MSocket=inet_pton,AF_INET,AF_INET6 -e '
    for (@ARGV) {
      my ($address, $bits) = m{^([0-9A-Fa-f:.]+)(?:/(0|[1-9][0-9]{0,2}))?\z} or exit 1;
      my ($family, $most) = $address =~ /:/ ? (AF_INET6, 128) : (AF_INET, 32);
      exit 1 if !inet_pton($family, $address) || ($bits // 0) > $most;
    }' -- $1
}

check_settings() {
  python=${CUTOVER_PYTHON_ADDR-flask:5000}
  home=${CUTOVER_HOME-python}
  proxies=${CUTOVER_TRUSTED_PROXIES-}
  body=${CUTOVER_MAX_BODY_MB-32}
  header=${CUTOVER_MAX_HEADER_KB-32}
  timeout=${CUTOVER_RESPONSE_TIMEOUT_S-130}

  address CUTOVER_PYTHON_ADDR "$python"
  address CUTOVER_GO_ADDR "${CUTOVER_GO_ADDR-goapp:8080}"
  case $home in
  python | go) ;;
  *) refuse CUTOVER_HOME "$home" 'python or go' ;;
  esac
  number CUTOVER_MAX_BODY_MB "$body" 1 10240
  number CUTOVER_MAX_HEADER_KB "$header" 4 256
  number CUTOVER_RESPONSE_TIMEOUT_S "$timeout" 1 3600
  networks "$proxies" ||
    refuse CUTOVER_TRUSTED_PROXIES "$proxies" 'addresses or networks like 10.0.0.0/8, separated by spaces'
}

# Both configurations include this.
write_settings() {
  cat <<EOF
client_max_body_size ${body}m;
large_client_header_buffers 8 ${header}k;
proxy_send_timeout ${timeout}s;
proxy_read_timeout ${timeout}s;
map \$host \$python_address {
  default "$python";
}
EOF
  if [ -z "$(printf %s "$proxies" | tr -d '[:space:]')" ]; then
    cat <<'EOF'
map $scheme $client_proto {
  default $scheme;
}
EOF
    return
  fi

  # Whoever stands in front of the edge tells who the client is, and how it came.
  for network in $proxies; do
    printf 'set_real_ip_from %s;\n' "$network"
  done
  echo 'geo $realip_remote_addr $proxied {'
  echo '  default no;'
  for network in $proxies; do
    printf '  %s yes;\n' "$network"
  done
  cat <<'EOF'
}
real_ip_header X-Forwarded-For;
real_ip_recursive on;
map $proxied:$http_x_forwarded_proto $client_proto {
  default $scheme;
  yes:http http;
  yes:https https;
}
EOF
}

if [ "$1" = nginx ]; then
  check_settings
  write_settings >$settings
  mkdir -p $state/run
  # nginx does not start over a socket file that a killed nginx left behind.
  rm -f $state/run/edge.sock /tmp/edge.sock
  # break-glass.sh leads the link elsewhere.
  config=/etc/nginx/nginx.conf
  if [ -e $state/break-glass ]; then
    config=/etc/nginx/python-only.conf
    echo "the glass is broken: everything goes to python, until break-glass.sh off" >&2
  fi
  ln -sfn $config /tmp/edge.conf
  set -- "$@" -c /tmp/edge.conf
fi
exec "$@"
