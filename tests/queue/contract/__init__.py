import pytest

pytest.register_assert_rewrite("tests.queue.contract.steps")
