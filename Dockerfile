# innerloop: the service and its worker in one image.
#   docker build -t innerloop .                             for the CPU
#   docker build -t innerloop --build-arg TORCH=cuda .      for NVIDIA GPUs
FROM python:3.11-slim AS builder
# For the calls of models/native; without a compiler they would be left out.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /srv/innerloop
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# PyPI's torch for Linux carries CUDA; the one for the CPU, a tenth of its size, has an index of its own. `--no-deps`: the
# next step brings what torch needs, from the usual index.
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN if [ "$TORCH" = cpu ] && [ -n "$TORCH_INDEX" ]; then set -- --extra-index-url "$TORCH_INDEX"; fi \
 && /srv/innerloop/bin/pip install "$@" --no-deps -c constraints.txt torch
# The dependencies are a layer of their own: a change of code installs none of them again.
RUN /srv/innerloop/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
 && /srv/innerloop/bin/pip install -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY models models
COPY app app
RUN /srv/innerloop/bin/pip install --no-deps . \
 && /srv/innerloop/bin/python -m compileall -q /srv/innerloop/lib/python3*/site-packages/app /srv/innerloop/lib/python3*/site-packages/models

FROM python:3.11-slim
RUN groupadd --system --gid 10001 innerloop \
 && useradd --system --uid 10001 --gid innerloop --home-dir /var/lib/innerloop --create-home --shell /usr/sbin/nologin innerloop \
 && mkdir -p /var/lib/innerloop/snapshots && chown -R innerloop:innerloop /var/lib/innerloop
COPY --from=builder /srv/innerloop /srv/innerloop
ENV PATH=/srv/innerloop/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    INNERLOOP_HOST=0.0.0.0 \
    INNERLOOP_DATA_FOLDER=/var/lib/innerloop \
    INNERLOOP_SNAPSHOT=/var/lib/innerloop/snapshots
USER innerloop
WORKDIR /var/lib/innerloop
VOLUME /var/lib/innerloop
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["innerloop"]
CMD ["serve", "--no-worker", "--host", "0.0.0.0"]
