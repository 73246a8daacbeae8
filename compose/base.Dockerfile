# What all images start from: Debian stable with dpkg told to be quick, and
# with the lists of packages, so that they are fetched once for all images.
# ROOT is debian:trixie-slim where a registry answers, and otherwise what
# bootstrap.sh makes from the machine's own Debian mirror.
ARG ROOT=debian:trixie-slim
FROM ${ROOT}
RUN printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
      'path-exclude=/usr/share/locale/*' >/etc/dpkg/dpkg.cfg.d/image \
 && printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' \
      'Acquire::GzipIndexes "true";' >/etc/apt/apt.conf.d/90image \
 && apt-get update -qq
COPY apt-packages /usr/local/bin/apt-packages
