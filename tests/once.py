"""Mark tests whose subject does not depend on the backend.

`bash scripts/test.sh` runs them in a session of their own, once for all three
backends.
"""

import pytest

ONCE = pytest.mark.once
