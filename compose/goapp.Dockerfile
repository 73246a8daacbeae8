# The new system. The context is the root of the repository.
ARG BASE=cutover-base
FROM ${BASE}

RUN apt-get update \
 && apt-get install -y --no-install-recommends libjs-htmx \
 && rm -rf /var/lib/apt/lists/*

RUN groupadd --gid 10102 goapp \
 && useradd --uid 10102 --gid 10102 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin goapp

# Static, with the time zones inside: it needs nothing of the image but htmx.
ARG BINARY=bin/linux-amd64/goapp
COPY ${BINARY} /usr/local/bin/goapp

USER 10102:10102
EXPOSE 8080
CMD ["goapp"]
