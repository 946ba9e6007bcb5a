"""The model as MLflow loads it: code and safetensors, nothing pickled.

model = mlflow.pyfunc.load_model("models:/perennial@champion")
model.predict(["Who is the head of state of Norway?"])
"""

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel
from mlflow.pyfunc.model import PythonModelContext


class Answerer(PythonModel):
    """Answers messages, each for itself; a `[key: value]` before a message is a retrieved memory."""

    def load_context(self, context: PythonModelContext) -> None:
        from tasks.lm.causal import load

        self.model, self.tokenizer = load(Path(context.artifacts["lm"]))

    def predict(self, context: Any, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:
        from tasks.lm.generate import answer

        return [answer(self.model, self.tokenizer, message) for message in model_input]


mlflow.models.set_model(Answerer())
