"""Dashkeeper: dashboards as a service."""
