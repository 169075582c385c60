"""What speaks a protocol: thin, without rules of its own."""
