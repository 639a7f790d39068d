"""`/metrics`: what this process, the workers and the services have to tell a Prometheus."""

from web.metrics.requests import RequestCounts
from web.metrics.route import metrics_routes

__all__ = ["RequestCounts", "metrics_routes"]
