# Receives what the applications send. The context is the root of the repository.
ARG BASE=cutover-base
FROM ${BASE}
CMD ["sink"]

RUN groupadd --gid 10106 sink \
 && useradd --uid 10106 --gid 10106 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sink

# Static: it needs nothing of the image.
ARG BINARY=bin/linux-amd64/sink
COPY ${BINARY} /usr/local/bin/sink
