"""The rules of each service, which know only requests and answers."""
