# One image for the pages and the workers; the command decides. Services and their order: docker-compose.yml.
FROM python:3.13-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    ZHIWEN_HOME=/data

RUN useradd --uid 10001 --create-home zhiwen && install --directory --owner=zhiwen --group=zhiwen /data
WORKDIR /app

# The packages, in a layer that only changes with these two files. PIP_INDEX_URL: another package index, if needed.
ARG PIP_INDEX_URL=
COPY pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = project['optional-dependencies']; \
print(*project['dependencies'], *extras['postgres'], *extras['fastembed'], *extras['otel'], sep='\n')" > /tmp/requirements.txt \
    && pip install --requirement /tmp/requirements.txt --constraint constraints.txt \
    && rm /tmp/requirements.txt

COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps --editable . && python -m compileall -q kb pages web workers

# The first start downloads the built-in model into the volume, for all containers.
USER zhiwen
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8501/readyz', timeout=8)"]
CMD ["streamlit", "run", "webui_st.py", "--server.address=0.0.0.0", "--server.headless=true"]
