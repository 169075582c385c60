"""Every query, once: plain functions of a connection, the same on each database."""
