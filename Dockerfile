# The same commands that `ferryman up` runs, for one image and many machines.
FROM python:3.11-slim AS build
WORKDIR /app
RUN python -m venv /app/.venv && /app/.venv/bin/pip install --no-cache-dir uv==0.13.9
COPY requirements.lock pyproject.toml README.md ./
RUN VIRTUAL_ENV=/app/.venv /app/.venv/bin/uv pip sync --require-hashes --no-cache requirements.lock
COPY . .
RUN VIRTUAL_ENV=/app/.venv /app/.venv/bin/uv pip install --no-deps --no-build-isolation --editable .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /app ferryman
COPY --from=build --chown=root:root /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 FERRYMAN_ENV=production
USER ferryman
ENTRYPOINT ["ferryman"]
CMD ["--help"]
