# Builds the wheel with its dependencies in one stage and runs it without build tools, and not as root, in the next.
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/hromada && /opt/hromada/bin/pip install --no-cache-dir .

FROM python:3.13-slim
RUN useradd --system --uid 991 --home-dir /data --shell /usr/sbin/nologin hromada \
    && install --directory --owner=hromada --group=hromada --mode=0700 /data
COPY --from=build /opt/hromada /opt/hromada
ENV PATH=/opt/hromada/bin:$PATH PYTHONUNBUFFERED=1
USER hromada
VOLUME /data
EXPOSE 8008
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8008/health', timeout=4)"]
ENTRYPOINT ["hromada"]
CMD ["run", "--data-dir", "/data", "--server-name", "localhost", "--listen", "0.0.0.0:8008"]
