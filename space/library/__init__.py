"""The block library: one file a block, a folder a kind. Importing this package registers every block in it."""

import importlib
import pkgutil

for _found in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_found.name)
