from tests.lm.conftest import rows, tiny

__all__ = ["rows", "tiny"]
