#!/bin/sh
# Starts what the arguments name: nginx, or the guard from the same image.
set -euf

state=/var/lib/cutover
settings=/tmp/settings.conf
plain=/tmp/plain.conf

# refuse VARIABLE VALUE WHAT-IT-MUST-BE
refuse() {
  printf '%s must be %s, not "%s"\n' "$1" "$3" "$2" >&2
  exit 1
}

# number VARIABLE VALUE LEAST MOST
number() {
  case $2 in
  '' | *[!0-9]* | 0?* | ?????????*) ;;
  *) [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ] || return 0 ;;
  esac
  refuse "$1" "$2" "a whole number from $3 to $4"
}

# truth VARIABLE VALUE
truth() {
  case $2 in
  true | false) ;;
  *) refuse "$1" "$2" 'true or false' ;;
  esac
}

# policy VARIABLE VALUE: what a string of nginx's and a header can hold.
policy() {
  perl -e 'exit $ARGV[0] !~ /^[a-z][!#%-+\--\[\]-~ ]*\z/' -- "$2" ||
    refuse "$1" "$2" "directives like default-src 'self', without quotation marks, backslashes, dollar signs, commas and line breaks"
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
  plain_http=${CUTOVER_PLAIN_HTTP-false}
  https_port=${CUTOVER_EDGE_HTTPS_PORT-8443}
  hsts=${CUTOVER_HSTS_MAX_AGE_S-300}
  csp_python=${CUTOVER_CSP_PYTHON-"default-src 'self' 'unsafe-inline'; frame-ancestors 'none'"}
  csp_go=${CUTOVER_CSP_GO-"default-src 'self'; frame-ancestors 'none'"}
  csp_enforce=${CUTOVER_CSP_ENFORCE-false}
  truth CUTOVER_PLAIN_HTTP "$plain_http"
  number CUTOVER_EDGE_HTTPS_PORT "$https_port" 1 65535
  number CUTOVER_HSTS_MAX_AGE_S "$hsts" 0 63072000
  policy CUTOVER_CSP_PYTHON "$csp_python"
  policy CUTOVER_CSP_GO "$csp_go"
  truth CUTOVER_CSP_ENFORCE "$csp_enforce"
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

# What headers.conf needs. Loopback names never get HSTS: it would force TLS onto
# every other port of the browser's own machine. What is neither system's, such
# as nginx's own pages, loads nothing.
write_headers() {
  cat <<EOF
map \$host \$hsts_of_host {
  default "max-age=$hsts";
  "" "";
EOF
  cat <<'EOF'
  "~^(?:.*\.)?localhost\.?$" "";
  "~^127\.[0-9.]+$" "";
  "~^\[(?:[0:]*:0*1|[0:]*:ffff:(?:127\.[0-9.]+|7f[0-9a-f]{2}:[0-9a-f]+))\]$" "";
}
EOF
  if [ "$csp_enforce" = true ]; then
    set -- "$csp_python" "$csp_go" '' ''
  else
    set -- '' '' "$csp_python" "$csp_go"
  fi
  cat <<EOF
map \$sent_http_x_served_by \$csp_enforced {
  default "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  python "$1";
  go "$2";
}
map \$sent_http_x_served_by \$csp_reported {
  default "";
  python "$3";
  go "$4";
}
EOF
}

# Where plain HTTP leads to the other port: anywhere but from health checks, and
# from those who came over TLS to a proxy that is trusted.
write_redirect() {
  suffix=:$https_port
  [ "$https_port" != 443 ] || suffix=
  cat <<EOF
map \$client_proto:\$uri \$leads_to_tls {
  default yes;
  ~^https: "";
  http:/health/python "";
  http:/health/go "";
}
map \$host \$tls_host {
  default "\$host$suffix";
  "" "\$server_addr$suffix";
}
EOF
}

# The server on the plain port includes this.
write_plain() {
  [ "$plain_http" = true ] || cat <<'EOF'
if ($leads_to_tls) {
  return 308 https://$tls_host$request_uri;
}
EOF
}

if [ "$1" = nginx ]; then
  check_settings
  { write_settings && write_headers && write_redirect; } >$settings
  write_plain >$plain
  for file in tls_certificate tls_key; do
    if [ ! -r /run/secrets/nginx/$file ]; then
      echo "nginx cannot read /run/secrets/nginx/$file: cutover up makes it" >&2
      exit 1
    fi
  done
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
