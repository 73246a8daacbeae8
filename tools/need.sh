#!/bin/sh
# Makes sure that tools are there: need.sh TOOL…
# On Debian as root it installs what is missing, saying so first; elsewhere it
# says what is missing and how to get it. Everything it prints goes to stderr.
set -eu

say() { printf '%s\n' "$*" >&2; }

package() {
  case $1 in
    docker) echo docker.io ;;
    *) echo "$1" ;;
  esac
}

present() {
  case $1 in
    docker) command -v docker >/dev/null || [ -n "${DOCKER_HOST:-}" ] || [ -n "${DOCKER_CONTEXT:-}" ] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=
for tool; do
  present "$tool" || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0

for tool in $missing; do
  if [ "$tool" = go ]; then
    say "Go is missing: install version $(sed -n 's/^go //p' "$(dirname "$0")/../go.mod") or newer from https://go.dev/dl/"
    exit 1
  fi
  if [ "$tool" = docker ] && [ "${CUTOVER_ENGINE:-}" = existing ]; then
    say "There is no Docker Engine: neither a docker binary nor DOCKER_HOST nor DOCKER_CONTEXT, and CUTOVER_ENGINE=existing forbids installing one."
    exit 5
  fi
done

packages=
for tool in $missing; do packages="$packages $(package "$tool")"; done

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  say "Missing:$missing."
  if command -v apt-get >/dev/null; then
    say "Install them with: sudo apt-get install$packages"
  else
    say "Install them with this system's package manager (Debian calls them:$packages)."
  fi
  exit 1
fi

say "Installing$packages (missing on this machine) …"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { apt-get update -qq && apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  say "Installing$packages failed; the lines above say why."
  exit 1
fi

case " $missing " in
  *" docker "*)
    # Debian starts the engine itself where there is an init system.
    docker info >/dev/null 2>&1 || service docker start >&2 || true
    tries=0
    until docker info >/dev/null 2>&1; do
      tries=$((tries + 1))
      if [ "$tries" -gt 60 ]; then
        say "docker.io was installed, but its engine does not answer: see /var/log/docker.log or journalctl -u docker."
        exit 5
      fi
      sleep 0.5
    done
    ;;
esac
