"""The checks of how stacks, parameters, catalog and documentation fit find each kind of fault."""

from __future__ import annotations

from typing import Any, Final

import cfn_stacks
import pytest
import yaml
from cfn_template import FOLDER, ROOT, Template, load

from tests.unit.deploy.planting import ABSENT, planted

TABLE: Final = ("Resources", "Table", "Properties")


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    """Every template."""
    return load()


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    """The example catalog."""
    catalog: dict[str, Any] = yaml.safe_load((FOLDER / "catalog.yaml").read_text("utf-8"))
    return catalog


def test_the_project_has_no_finding(templates: dict[str, Template]) -> None:
    """The project's own files pass every check."""
    assert list(cfn_stacks.check(templates, cfn_stacks.parameter_files())) == []


def test_an_alias_is_found() -> None:
    """CloudFormation refuses aliases, which parsers of YAML resolve without a word."""
    text = "A: &a [1]\nB: *a\n"
    assert list(cfn_stacks.check_yaml("x", text)) == [
        "x, line 1: CloudFormation knows no anchors and aliases",
        "x, line 2: CloudFormation knows no anchors and aliases",
    ]


def test_a_template_that_is_too_large_is_found() -> None:
    """The AWS CLI sends a template of 51,200 bytes, and needs a bucket for a larger one."""
    assert list(cfn_stacks.check_yaml("x", "#" * 51_200)) == []
    (found,) = cfn_stacks.check_yaml("x", "#" * 51_201)
    assert "x has 51,201 bytes" in found


@pytest.mark.parametrize("comment", [ABSENT, "", "not needed"])
def test_a_suppression_without_a_reason_is_found(
    templates: dict[str, Template], comment: Any
) -> None:
    """A suppressed finding of checkov has its reason beside it."""
    path = ("Resources", "Table", "Metadata", "checkov", "skip", 0, "comment")
    assert list(cfn_stacks.check_suppressions("data", templates["data"])) == []
    changed = planted(templates["data"], path, comment)
    assert list(cfn_stacks.check_suppressions("data", changed)) == [
        "data: Table: CKV_AWS_119 is suppressed without a reason"
    ]


def test_a_missing_export_is_found(templates: dict[str, Template]) -> None:
    """A name that a stack imports is exported by one that is deployed before it."""
    changed = templates | {"network": planted(templates["network"], ("Outputs", "VpcId"), ABSENT)}
    found = list(cfn_stacks.check_imports(changed))
    assert "service: no earlier stack exports ${Deployment}-VpcId" in found
    backwards = dict(reversed(templates.items()))
    assert any(one.startswith("alarms: ") for one in cfn_stacks.check_imports(backwards))


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        (("dev", "MinTasks"), "0", "dev: MinTasks does not accept '0'"),
        (("dev", "TaskCpu"), "1000", "dev: TaskCpu does not accept '1000'"),
        (("dev", "Deployment"), "Dev", "dev: Deployment does not accept 'Dev'"),
        (("dev", "MaxTask"), "3", "dev: no stack has the parameter MaxTask"),
        (("dev", "MonthlyBudget"), ABSENT, "dev: MonthlyBudget has neither a value nor a default"),
        (("dev", "MinTasks"), ABSENT, "dev: MinTasks is missing, and is in another file"),
    ],
)
def test_a_fault_of_a_parameter_file_is_found(
    templates: dict[str, Template], path: tuple[str, ...], fault: Any, finding: str
) -> None:
    """A value that a stack refuses, or that no stack takes, is a finding before any deployment."""
    files = planted(cfn_stacks.parameter_files(), path, fault)
    assert finding in list(cfn_stacks.check_parameters(templates, files))


def test_a_parameter_with_two_meanings_is_found(templates: dict[str, Template]) -> None:
    """One file serves all stacks, so a name has one definition."""
    path = ("Parameters", "Deployment", "AllowedPattern")
    changed = templates | {"alarms": planted(templates["alarms"], path, ".*")}
    found = list(cfn_stacks.check_parameters(changed, cfn_stacks.parameter_files()))
    assert "alarms: the parameter Deployment is another one in an earlier stack" in found


@pytest.mark.parametrize(
    ("path", "fault", "finding"),
    [
        (("table",), "events", "dev: audit_events of the catalog is events, not audit-events"),
        (("table",), "events", "dev: the role may not read events"),
        (("required",), ["system"], "catalog: system of audit_events is no key"),
        (("timestamps",), {"at": "iso8601"}, "catalog: at of audit_events is no key"),
        (("time_to_live",), "ttl", "catalog: ttl is not the table's time to live"),
    ],
)
def test_a_catalog_that_does_not_fit_is_found(
    templates: dict[str, Template],
    catalog: dict[str, Any],
    path: tuple[str, ...],
    fault: Any,
    finding: str,
) -> None:
    """The example catalog describes the example table, and the role may read it."""
    changed = planted(catalog, ("tables", "audit_events", *path), fault)
    found = cfn_stacks.check_catalog(templates, cfn_stacks.parameter_files(), changed)
    assert finding in "\n".join(found)


def test_a_stream_without_images_is_found(
    templates: dict[str, Template], catalog: dict[str, Any]
) -> None:
    """Invalidation from a stream needs both images."""
    path = (*TABLE, "StreamSpecification", "StreamViewType")
    changed = templates | {"data": planted(templates["data"], path, "KEYS_ONLY")}
    (found,) = cfn_stacks.check_catalog(changed, cfn_stacks.parameter_files(), catalog)
    assert "needs a stream with NEW_AND_OLD_IMAGES, not KEYS_ONLY" in found


def test_documents_that_differ_are_found(templates: dict[str, Template]) -> None:
    """The pages name the actions of the roles and the commands of the cache's user, and no more."""
    deploying = (ROOT / "docs/operations/deploying.md").read_text("utf-8")
    security = (ROOT / "docs/architecture/security.md").read_text("utf-8")
    fewer = deploying.replace("`dynamodb:Scan`", "scans")
    assert list(cfn_stacks.check_documents(templates, fewer, security)) == [
        "docs/operations/deploying.md does not name dynamodb:Scan"
    ]
    more = deploying.replace("`dynamodb:Scan`", "`dynamodb:Scan`, `dynamodb:PutItem`")
    assert list(cfn_stacks.check_documents(templates, more, security)) == [
        "roles.yaml does not name dynamodb:PutItem"
    ]
    path = ("Resources", "User", "Properties", "AccessString")
    changed = templates | {"cache": planted(templates["cache"], path, "on ~* +@all")}
    assert list(cfn_stacks.check_documents(changed, deploying, security)) == [
        "cache: the commands of User differ from docs/architecture/security.md"
    ]
