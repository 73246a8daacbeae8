#!/bin/sh
# Writes the root file system of Debian trixie as tar to standard output, made
# from the machine's own Debian mirror. For machines that reach no registry of
# images; see compose/base.Dockerfile.
set -eu

if ! command -v mmdebstrap >/dev/null; then
  sh "$(dirname "$0")/../tools/need.sh" mmdebstrap
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
  grep -v security | head -n 1)

exec mmdebstrap --quiet --variant=minbase \
  --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --aptopt='Acquire::Languages "none"' \
  trixie - ${mirror:+"$mirror"}
