"""What gunicorn serves."""

import os
import sys

from p2k16.app import create_app
from p2k16.config import Config, ConfigError

try:
    app = create_app(Config.from_environment(os.environ))
except ConfigError as error:
    sys.exit(f"p2k16 does not start: {error}")
