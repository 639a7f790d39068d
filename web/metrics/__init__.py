"""`/metrics`: what this process, the workers and the services have to tell a Prometheus."""

from web.metrics.requests import RequestCounts
from web.metrics.route import ROUTES

__all__ = ["ROUTES", "RequestCounts"]
