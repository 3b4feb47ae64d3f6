"""Warnings about settings that are allowed but probably not intended."""

from __future__ import annotations

from dynamodb_processor_server.config_files.validation_messages import did_you_mean
from dynamodb_processor_server.serving_settings import ENVIRONMENT_PREFIX
from dynamodb_processor_server.settings import Settings, unknown_variables


def setting_warnings(settings: Settings) -> list[str]:
    """Return one sentence for each variable that names no setting, and each doubtful setting."""
    settings_names = tuple(name.upper() for name in Settings.model_fields)
    found = []
    for variable in unknown_variables():
        name = variable.upper().removeprefix(ENVIRONMENT_PREFIX)
        meant = did_you_mean(name, settings_names, prefix=ENVIRONMENT_PREFIX)
        found.append(f"{variable}: no setting has this name{meant}")
    if settings.grants == "warn":
        found.append(
            "grants: warn serves every table of the catalog to every caller with a credential; set "
            "enforce when the log event table_not_granted no longer comes"
        )
    if not settings.has_token_keys:
        found.append(
            "token_keys: not set, so page tokens end with this process and other replicas refuse "
            "them; `dynamodb-processor keys token-key` makes one"
        )
    return found
