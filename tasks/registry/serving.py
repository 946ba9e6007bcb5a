"""The model as MLflow loads it: code and safetensors, nothing pickled.

model = mlflow.pyfunc.load_model("models:/perennial@champion")
model.predict(["Who is the head of state of Norway?"])
model.predict(["What should I cook?"], params={"memories": ["favourite food: ramen", "job: baker"]})
"""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.pyfunc import PythonModel
from mlflow.pyfunc.model import PythonModelContext
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

TEXTS = Schema([ColSpec(DataType.string)])
SIGNATURE = ModelSignature(TEXTS, TEXTS, ParamSchema([ParamSpec("memories", DataType.string, [], (-1,))]))


class Answerer(PythonModel):
    """Answers messages, each for itself, before it the one of the memories that its retriever finds for it, if any."""

    def load_context(self, context: PythonModelContext) -> None:
        from tasks.lm.causal import load
        from tasks.retrieval.search import load_finder

        self.model, self.tokenizer = load(Path(context.artifacts["lm"]))
        self.finder = load_finder(Path(context.artifacts["retriever"]))

    # without type hints: MLflow would make a signature of them that has no parameters
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Answers to a list or a column of messages; `memories` among params are `key: value`, a user's."""
        from tasks.lm.generate import answer
        from tasks.memory.neutral import neutral_memory

        messages = model_input if isinstance(model_input, list) else model_input.iloc[:, 0].tolist()
        given = (params or {}).get("memories", [])
        memories = [neutral_memory(text if text.startswith("[") else f"[{text}]") for text in given]
        return [answer(self.model, self.tokenizer, self._with_memory(message, memories)) for message in messages]

    def _with_memory(self, message: str, memories: list[str]) -> str:
        found: list[Any] = self.finder.find(message, memories) if self.finder and memories else []
        return f"{memories[found[0].place]} {message}" if found else message


mlflow.models.set_model(Answerer())
