"""The core of Zhiwen: everything but the screens and the task queue."""
