# A CPU image: `docker build -t crsae .` in a clone; docs/how_to/containers.md says how it is used.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY autoload autoload
COPY si_crsae si_crsae
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# PyTorch's index of CPU builds makes the image several GB smaller; which one that is, pytorch.org tells.
ARG TORCH_INDEX=""
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch>=2.4"
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[widgets]"
# Compiled loops come with the image, and whoever runs it may add others; the recording is sorted to see that it works.
ENV NUMBA_CACHE_DIR=/var/cache/numba MPLCONFIGDIR=/tmp/matplotlib
COPY release/sort_small.py release/docker_entry.sh /opt/crsae/
RUN mkdir -p "$NUMBA_CACHE_DIR" \
    && python /opt/crsae/sort_small.py "$(mktemp -d)" \
    && chmod -R a+rwX "$NUMBA_CACHE_DIR"
WORKDIR /data
ENTRYPOINT ["sh", "/opt/crsae/docker_entry.sh"]
