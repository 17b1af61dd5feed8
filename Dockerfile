# syntax=docker/dockerfile:1
# The image: the static binary, its licences and nothing else. docs/docker.md says how to take the binary into yours.
# scripts/image-test carries out what stands here, line by line, without an engine for containers.

ARG RUST_VERSION=1.95

FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
# musl-gcc compiles mimalloc for the C library that the binary will contain; binutils read what came out.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils musl-tools \
 && rm -rf /var/lib/apt/lists/*
# A layer for the packages alone: as long as these files stay, they are not compiled again.
COPY Cargo.toml Cargo.lock ./
COPY scripts/dist scripts/anonymous-rustc scripts/check-hardening scripts/static-pie scripts/
RUN --mount=type=cache,target=/usr/local/cargo/registry scripts/dist --dependencies
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry scripts/dist --binary
# What becomes the image. Nothing but /tmp is written to: sockets of workers and of the admin.
RUN install -D -m 755 target/dist/*-linux-musl/warmfront /out/warmfront \
 && install -D -m 644 -t /out/licenses LICENSE-APACHE LICENSE-MIT target/dist/*-linux-musl/LICENSES-THIRD-PARTY.txt \
 && mkdir -m 1777 /out/tmp

FROM scratch
LABEL org.opencontainers.image.title="warmfront" \
      org.opencontainers.image.description="A fast front door for Function Compute that keeps a pool of warm workers on Unix sockets" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="scratch"
COPY --from=build /out/ /
# For the health check: a socket that this user alone can open. The platform's port says nothing of this.
ENV WARMFRONT_ADMIN_LISTEN=/tmp/warmfront-admin.sock
# Nobody's number; names are in no file here.
USER 65532:65532
EXPOSE 9000
# Finish what is in flight, then end.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 CMD ["/warmfront", "status"]
ENTRYPOINT ["/warmfront"]
CMD ["run"]
