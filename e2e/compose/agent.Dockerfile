# The tracing peer of `make test-traces` in a container, where docker-compose.yml has Jaeger.
FROM debian:bookworm-slim
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update -qq && \
    apt-get install -y -qq --no-install-recommends python3-venv ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY requirements.txt .
RUN python3 -m venv /peer && /peer/bin/pip install --quiet --no-cache-dir --requirement requirements.txt
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["/peer/bin/ddapm-test-agent", "--port", "8126", "--otlp-http-port", "4318", "--otlp-grpc-port", "4317", "--disable-llmobs-data-forwarding", "--host", "0.0.0.0"]
