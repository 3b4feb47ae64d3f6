# The server alone. Nothing of the builder but its virtual environment reaches the image.

# To pin it: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_NO_INPUT=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /src

# One environment builds, the other is shipped, without pip and without a build backend.
RUN python -m venv /opt/build \
    && python -m venv --without-pip /opt/dynamodb-processor

# The dependencies change less often than the code: a layer of their own.
COPY requirements/build.txt requirements/server.txt requirements/
RUN /opt/build/bin/pip install --require-hashes --no-compile \
        --requirement requirements/build.txt \
    && /opt/build/bin/pip --python /opt/dynamodb-processor/bin/python install \
        --require-hashes --only-binary=:all: --no-compile \
        --requirement requirements/server.txt

COPY pyproject.toml README.md LICENSE ./
COPY proto proto
COPY server server
COPY clients/python clients/python
# Bytecode that names no time, so that the same sources give the same files.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /opt/wheels . \
    && /opt/build/bin/pip --python /opt/dynamodb-processor/bin/python install \
        --no-deps --no-compile --no-index /opt/wheels/*.whl \
    && PYTHONHASHSEED=0 /opt/dynamodb-processor/bin/python -m compileall \
        -q -j 0 --invalidation-mode unchecked-hash /opt/dynamodb-processor/lib


FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="DynamoDB Processor" \
      org.opencontainers.image.description="Read DynamoDB tables through one well-behaved gRPC QueryService" \
      org.opencontainers.image.licenses="MIT"

COPY --from=build /opt/dynamodb-processor /opt/dynamodb-processor

# Mount the catalog and the keys there, or name others. Token keys and AWS credentials come from the
# platform when the container starts; the image holds none. The server does not start without either
# a certificate (DYNAMODB_PROCESSOR_TLS_CERTIFICATE, ..._TLS_KEY) or DYNAMODB_PROCESSOR_INSECURE=true.
# The health check uses the port that is plain text in both cases.
ENV PATH=/opt/dynamodb-processor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DYNAMODB_PROCESSOR_CATALOG=/etc/dynamodb-processor/catalog.yaml \
    DYNAMODB_PROCESSOR_KEYS=/etc/dynamodb-processor/keys.yaml \
    DYNAMODB_PROCESSOR_LISTEN=0.0.0.0:50051 \
    DYNAMODB_PROCESSOR_HEALTH_LISTEN=0.0.0.0:50052 \
    DYNAMODB_PROCESSOR_METRICS_LISTEN=0.0.0.0:9464

# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /etc/dynamodb-processor

# gRPC, health checks alone, and Prometheus metrics.
EXPOSE 50051 50052 9464

STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["dynamodb-processor", "health", "--target", "127.0.0.1:50052"]

ENTRYPOINT ["dynamodb-processor"]
CMD ["serve"]
