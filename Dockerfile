# The command in an image: docker build --tag keras-clmae .
# For an NVIDIA GPU: --build-arg BACKEND="jax[cuda12]"; or BACKEND=torch.
FROM python:3.11-slim

ARG BACKEND=jax
ARG EXTRAS=cli,data,evaluation
WORKDIR /opt/keras_clmae
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY keras_clmae keras_clmae
RUN pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" "${BACKEND}"

# Images and run folders are mounted here.
WORKDIR /data
RUN useradd --create-home --uid 1000 trainer && chown 1000 /data
USER 1000
ENTRYPOINT ["keras-clmae"]
CMD ["--help"]
