"""Makes the OpenAPI description of the REST form, which the server serves as it stands in its package."""
