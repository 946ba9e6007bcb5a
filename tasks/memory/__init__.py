"""The per-user memory store, the prompt, the chat turn."""
