"""The memory that is solved and not trained: what a slice brings becomes sums, and the sums one linear map."""
