# What all images start from: Debian stable with dpkg told to be quick. ROOT is
# debian:trixie-slim where a registry answers, and otherwise what bootstrap.sh
# makes from the machine's own Debian mirror.
ARG ROOT=debian:trixie-slim
FROM ${ROOT}
ENV DEBIAN_FRONTEND=noninteractive
RUN printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
      'path-exclude=/usr/share/locale/*' >/etc/dpkg/dpkg.cfg.d/image \
 && printf '%s\n' 'APT::Install-Recommends "false";' 'Acquire::Languages "none";' \
      >/etc/apt/apt.conf.d/90image
