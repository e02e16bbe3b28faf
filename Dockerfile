# Baton's programs, an image each: docker build --target broker|producer|consumer .
#
# Nothing in here depends on the processor: linux/amd64 and linux/arm64 build from the same lines. An image has one program on Debian,
# runs as a user without rights and without a shell, and needs to write nowhere but in /data, and that only the broker.

FROM rust:1.95-slim-bookworm AS build
# release; tests say dev, which builds in half the time.
ARG PROFILE=release
ARG TARGETARCH
WORKDIR /baton
COPY . .
# What cargo fetched and built stays for the next build; a folder for each processor, so that builds for several do not undo each other.
# Cargo goes by times: what was changed while the last build ran would be older than that build and left out, hence the touch.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/baton/target,sharing=locked \
    find . -path ./target -prune -o -type f -exec touch {} + && \
    export CARGO_TARGET_DIR="target/${TARGETARCH:-native}" && \
    cargo build --locked --profile "$PROFILE" -p baton-broker -p baton-producer -p baton-consumer && \
    [ "$PROFILE" = dev ] && built=debug || built=$PROFILE && \
    mkdir -p /programs/data && \
    for program in broker producer consumer; do \
        strip --strip-debug -o "/programs/baton-$program" "$CARGO_TARGET_DIR/$built/baton-$program" || exit 1; \
    done

FROM debian:bookworm-slim AS base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Baton" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001

FROM base AS producer
LABEL org.opencontainers.image.title="baton-producer" \
      org.opencontainers.image.description="Publishes items to a queue of a Baton broker"
COPY --from=build /programs/baton-producer /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/baton-producer"]
CMD ["--help"]

FROM base AS consumer
LABEL org.opencontainers.image.title="baton-consumer" \
      org.opencontainers.image.description="Processes the items of a queue of a Baton broker"
COPY --from=build /programs/baton-consumer /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/baton-consumer"]
CMD ["--help"]

# The last one is what a build without --target gives.
FROM base AS broker
LABEL org.opencontainers.image.title="baton-broker" \
      org.opencontainers.image.description="A durable work queue in which every item explains its latency"
COPY --from=build --chown=10001:10001 /programs/data /data
COPY --from=build /programs/baton-broker /usr/local/bin/
# Other containers reach it, so it wants to be told --insecure (or BATON_INSECURE=true) before it starts: there is no TLS yet.
ENV BATON_DATA=/data BATON_LISTEN=0.0.0.0:7400 BATON_HTTP=0.0.0.0:7401
VOLUME /data
EXPOSE 7400 7401
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s --retries=5 CMD ["/usr/local/bin/baton-broker", "health"]
ENTRYPOINT ["/usr/local/bin/baton-broker"]
