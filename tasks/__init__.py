"""WHAT is done: plain functions, files in, files out. One step per file; a room knows how."""

import os

# Read by the libraries when they are imported. A user's own setting wins.
for _name, _value in {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default one call to a server that dies blocks four minutes
    # Threads that wait spin for a moment only: spinning on, they make a step up to thirty times slower on a machine
    # that is shared; not spinning at all, 1.7 times slower on one that is not.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "5000",
    # A CPU's kernels for bfloat16 are kept by shape, a thousand of them; batches have ever new shapes, and with each a
    # process would grow by megabytes (docs/models.md). What is used again at once are a few.
    "LRU_CACHE_CAPACITY": "32",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    # Without it a matrix product on a GPU is an error where the algorithms must be deterministic, as they are here.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}.items():
    os.environ.setdefault(_name, _value)

# A proxy is for what lies outside: servers of this machine are reached without, by every library. (Of the two
# spellings some read one, some the other first.)
_direct = [
    _host for _name in ("NO_PROXY", "no_proxy") for _host in os.environ.get(_name, "").split(",") if _host.strip()
]
if "*" not in _direct:
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(
        dict.fromkeys([*(_host.strip() for _host in _direct), "localhost", "127.0.0.1", "::1"])
    )
