"""Imported once, by the process that tests/warm.py forks: what takes long, and reads no variable that tests set."""

# isort: off
import tasks  # noqa: F401 (sets what the libraries read when they are imported)
import dvc.repo  # noqa: F401
import faiss  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import mlflow.pyfunc  # noqa: F401
import pandas  # noqa: F401
import peft  # noqa: F401
import scipy.special  # noqa: F401
import sentence_transformers  # noqa: F401
import sklearn.metrics  # noqa: F401
import torch  # noqa: F401
import transformers.trainer  # noqa: F401

import gc

gc.collect()
gc.freeze()  # a fork need not look through them for garbage
