# The new system. The context is the root of the repository.
ARG BASE=cutover-base
FROM ${BASE}
CMD ["goapp"]
HEALTHCHECK --interval=3s --timeout=3s --retries=3 --start-period=30s CMD ["goapp", "healthcheck"]

RUN apt-packages libjs-htmx \
 && groupadd --gid 10102 goapp \
 && useradd --uid 10102 --gid 10102 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin goapp

# Static, with the time zones inside: it needs nothing of the image but htmx.
ARG BINARY=bin/linux-amd64/goapp
COPY ${BINARY} /usr/local/bin/goapp
