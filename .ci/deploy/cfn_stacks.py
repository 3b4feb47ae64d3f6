"""Checks that the stacks fit each other, their parameters, the catalog and the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any, Final

import yaml
from cfn_actions import actions_of
from cfn_template import FOLDER, ROOT, Template, exports, imports, resources, text_of

from dynamodb_processor_server.catalog.config import CatalogConfig

#: Parameters that each deployment gives by itself; the others are in its file.
PER_RUN: Final = frozenset({"CertificateArn", "ImageUri", "RepositoryArn"})
_WORDS_OF_A_REASON: Final = 5
_MOST_BYTES: Final = 51_200
_ACL: Final = re.compile(r"ACL SETUSER ddb on >PASSWORD (~\S+)((?:\s+\+\S+)+)")


def parameter_files() -> dict[str, dict[str, str]]:
    """Return the parameters of each environment, by the name of its file."""
    return {
        file.stem: json.loads(file.read_text("utf-8"))["Parameters"]
        for file in sorted((FOLDER / "parameters").glob("*.json"))
    }


def check_yaml(name: str, text: str) -> Iterator[str]:
    """Yield the faults of a template's text: aliases, which CloudFormation lacks, and its size."""
    size = len(text.encode("utf-8"))
    if size > _MOST_BYTES:
        yield f"{name} has {size:,} bytes; without a bucket {_MOST_BYTES:,} are allowed"
    for token in yaml.scan(text, yaml.SafeLoader):
        if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
            line = token.start_mark.line + 1
            yield f"{name}, line {line}: CloudFormation knows no anchors and aliases"


def check_suppressions(name: str, template: Template) -> Iterator[str]:
    """Yield the suppressed findings of checkov that have no reason beside them."""
    for resource, content in template["Resources"].items():
        for skip in content.get("Metadata", {}).get("checkov", {}).get("skip", []):
            if len(str(skip.get("comment", "")).split()) < _WORDS_OF_A_REASON:
                yield f"{name}: {resource}: {skip.get('id')} is suppressed without a reason"


def check_imports(templates: Mapping[str, Template]) -> Iterator[str]:
    """Yield each imported name that no earlier stack exports."""
    known: set[str] = set()
    for name, template in templates.items():
        for wanted in sorted(set(imports(template)) - known):
            yield f"{name}: no earlier stack exports {wanted}"
        known |= exports(template)


def check_parameters(
    templates: Mapping[str, Template], files: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield values that a parameter refuses, and parameters that nobody gives or declares."""
    known: dict[str, Any] = {}
    for name, template in templates.items():
        for parameter, definition in template.get("Parameters", {}).items():
            if known.setdefault(parameter, definition) != definition:
                yield f"{name}: the parameter {parameter} is another one in an earlier stack"
    needed = {name for name, definition in known.items() if "Default" not in definition}
    for file, values in files.items():
        for missing in sorted(needed - PER_RUN - set(values)):
            yield f"{file}: {missing} has neither a value nor a default"
        for parameter, value in values.items():
            if parameter not in known:
                yield f"{file}: no stack has the parameter {parameter}"
            elif not _is_allowed(value, known[parameter]):
                yield f"{file}: {parameter} does not accept {value!r}"
        for other in set().union(*files.values()) - set(values):
            yield f"{file}: {other} is missing, and is in another file"


def _is_allowed(value: str, definition: Mapping[str, Any]) -> bool:
    if "AllowedValues" in definition and value not in map(str, definition["AllowedValues"]):
        return False
    if definition["Type"] == "Number":
        least, most = definition.get("MinValue", "-inf"), definition.get("MaxValue", "inf")
        return float(least) <= float(value) <= float(most)
    return re.fullmatch(definition.get("AllowedPattern", ".*"), value, re.DOTALL) is not None


def check_catalog(
    templates: Mapping[str, Template],
    files: Mapping[str, Mapping[str, str]],
    catalog: Mapping[str, Any],
) -> Iterator[str]:
    """Yield differences between the example catalog, the table, and the role's tables."""
    context = {"may_consume_streams": True, "has_region": True}
    tables = CatalogConfig.model_validate(dict(catalog), context=context).tables
    ((_, table),) = resources(templates["data"], "AWS::DynamoDB::Table")
    properties = table["Properties"]
    stored = {attribute["AttributeName"] for attribute in properties["AttributeDefinitions"]}
    for name, config in tables.items():
        for file, values in files.items():
            if config.table != values["TableName"]:
                yield f"{file}: {name} of the catalog is {config.table}, not {values['TableName']}"
            if not fnmatch(str(config.table), values["TablePattern"]):
                yield f"{file}: the role may not read {config.table}, the table of {name}"
        for attribute in sorted({*config.required, *config.timestamps} - stored):
            yield f"catalog: {attribute} of {name} is no key of the table or of an index"
        if config.time_to_live != properties["TimeToLiveSpecification"]["AttributeName"]:
            yield f"catalog: {config.time_to_live} is not the table's time to live"
        view = properties.get("StreamSpecification", {}).get("StreamViewType")
        if config.invalidate_from_stream and view != "NEW_AND_OLD_IMAGES":
            yield f"catalog: {name} needs a stream with NEW_AND_OLD_IMAGES, not {view}"


def check_documents(
    templates: Mapping[str, Template], deploying: str, security: str
) -> Iterator[str]:
    """Yield actions and commands of Redis that the documentation does not grant, and vice versa."""
    section = deploying.partition("## IAM permissions")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`((?:cloudwatch|dynamodb|secretsmanager|sts):\w+)`", section))
    granted = set().union(*actions_of(templates["roles"]).values())
    for action in sorted(granted ^ documented):
        where = "docs/operations/deploying.md" if action in granted else "roles.yaml"
        yield f"{where} does not name {action}"
    found = _ACL.search(security)
    assert found is not None, "docs/architecture/security.md has no ACL"
    ((_, user),) = resources(templates["cache"], "AWS::ElastiCache::User")
    written = text_of(user["Properties"]["AccessString"]).split()
    if written != ["on", found[1], "-@all", *found[2].split()]:
        yield "cache: the commands of User differ from docs/architecture/security.md"


def check(
    templates: Mapping[str, Template], files: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield every finding in the project's files."""
    for name in templates:
        text = (FOLDER / "templates" / f"{name}.yaml").read_text("utf-8")
        yield from check_yaml(name, text)
        yield from check_suppressions(name, templates[name])
    yield from check_imports(templates)
    yield from check_parameters(templates, files)
    catalog = yaml.safe_load((FOLDER / "catalog.yaml").read_text("utf-8"))
    yield from check_catalog(templates, files, catalog)
    yield from check_documents(
        templates,
        (ROOT / "docs/operations/deploying.md").read_text("utf-8"),
        (ROOT / "docs/architecture/security.md").read_text("utf-8"),
    )
