"""Shares the tiny director of the tests of serving."""

from tests.serving.conftest import director, slow_paced, with_settings

__all__ = ['director', 'slow_paced', 'with_settings']
