"""img2dataset's own `download_image` on one URL: python img2dataset_download.py URL TOKEN DIRECTIVES (as JSON).

Only its downloader is loaded. What that imports to write data sets (pyarrow, OpenCV, wandb: 85 seconds of
installing) is not needed to download, so empty modules stand for it.
"""

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any


class Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return type(name, (), {})


def downloader() -> Any:
    spec = importlib.util.find_spec("img2dataset")
    assert spec is not None
    package = ModuleType("img2dataset")
    package.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["img2dataset"] = package
    for name in ("exifread", "fsspec", "img2dataset.logger", "pyarrow"):
        sys.modules[name] = Empty(name)
    return importlib.import_module("img2dataset.downloader")


url, token, directives = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
_, image, reason = downloader().download_image((0, url), 10, token, directives)
print(len(image.read()) if image else reason)
