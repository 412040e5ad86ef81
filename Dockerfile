# annlib on a machine with NVIDIA GPUs. Written for CUDA 13; the image itself has not been tried yet.
#   docker build -t annlib .
#   docker run --gpus all --ipc host -p 127.0.0.1:8888:8888 -v "$PWD/runs:/course/runs" annlib
FROM pytorch/pytorch:2.11.0-cuda13.0-cudnn9-runtime
RUN apt-get update -q \
 && apt-get install -qy --no-install-recommends git bubblewrap build-essential \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home student && mkdir /course && chown student /course
USER student
WORKDIR /course
COPY --chown=student . .
RUN python -m venv --system-site-packages .venv \
 && .venv/bin/pip install --no-cache-dir -e '.[course,data,record]'
ENV PATH=/course/.venv/bin:$PATH
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--LabApp.app_settings_dir=annlib/course/jupyterlab", "notebooks/00_start_here.ipynb"]
