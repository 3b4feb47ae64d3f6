"""The reference page: Swagger UI and the OpenAPI description, as static files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import NpmPackage, ToolCache

OPENAPI_FILE: Final = Path(__file__).parents[1] / "openapi.json"
_PAGE: Final = Path(__file__).parents[1] / "reference"
_SWAGGER_UI: Final = NpmPackage(
    "swagger-ui-dist",
    "5.35.0",
    "U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
)
_USED: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_LICENSES: Final = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")


def write_reference(folder: Path, tools: ToolCache) -> Path:
    """Write `openapi.json` and the folder `reference` with the page into a folder, and return it.

    Raises:
        ToolUnavailable: Swagger UI could not be fetched from the npm registry.
    """
    package = tools.npm_package(_SWAGGER_UI)
    page = folder / "reference"
    page.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(OPENAPI_FILE, folder / OPENAPI_FILE.name)
    for file in _PAGE.iterdir():
        shutil.copyfile(file, page / file.name)
    for name in _USED:
        shutil.copyfile(package / name, page / name)
    for name in _LICENSES:
        shutil.copyfile(package / name, page / f"{name.removesuffix('.txt')}.txt")
    return folder
