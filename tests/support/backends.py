"""The real programs that tests run against, found on this machine or fetched into the cache."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

REGION = "eu-west-1"

# DynamoDB Local and moto accept any credentials. The metadata service is named so that no test ever
# waits for one.
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}

# Variables of a developer's shell that tests must not follow.
FOREIGN_VARIABLES = (
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "DDBQ_API_KEY",
    "DDBQ_TARGET",
)


class MissingTool(Exception):
    """A program that `requirements/dev.txt` installs is missing."""


def find_tool(name: str) -> Path:
    """Return a program's path: this environment's own, else the one on PATH.

    Raises:
        MissingTool: there is none.
    """
    own = Path(sys.executable).parent / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        raise MissingTool(f"{name} is not installed: run the tests with make test")
    return Path(found)
