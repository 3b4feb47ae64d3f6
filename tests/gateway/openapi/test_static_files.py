"""Envoy answers static files itself, with headers under which browsers run nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from gateway.options import Address, OptionError, Options
from gateway.reference import OPENAPI_FILE
from gateway.static_files import MAX_FILE_BYTES, static_routes
from tests.gateway.openapi.conftest import Samples
from tests.support.gateway import Gateway, running_gateway
from tests.support.processes import free_address

_REFERENCE: Final = Path(OPENAPI_FILE).with_name("reference")


def test_the_description_is_served(samples: Samples) -> None:
    """`/openapi.json` has the file of the repository, and needs no key."""
    answer = samples.gateway.get("/openapi.json", **{"x-api-key": ""})
    assert answer.status == 200
    assert answer.json
    assert answer.text == OPENAPI_FILE.read_text(encoding="utf-8")


def test_the_page_and_its_files_are_served(samples: Samples) -> None:
    """Every file that the page names is there, with its type, and is from no other origin."""
    page = samples.gateway.get("/reference/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert len(names) == 6
    types = {".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
    for name in names:
        if name.endswith(".png"):
            continue  # not text
        path = f"/reference/{name}".replace("/reference/../", "/")
        answer = samples.gateway.get(path)
        assert answer.status == 200, path
        assert answer.headers["content-type"].startswith(types[Path(name).suffix])
        assert answer.text


def test_pages_load_and_send_to_their_own_origin_alone(samples: Samples) -> None:
    """The policy allows no inline script, no other origin and no frame."""
    headers = samples.gateway.get("/reference/").headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    for file in _REFERENCE.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "://" not in text, f"{file.name} names another origin"
        assert not re.search(r"<style|<script>|style=|\son[a-z]+=", text), file.name


def test_an_unchanged_file_is_not_sent_again(samples: Samples) -> None:
    """A browser that has the file gets 304 for its ETag, and the file for any other."""
    first = samples.gateway.get("/openapi.json")
    assert first.headers["cache-control"] == "no-cache"
    again = samples.gateway.get("/openapi.json", **{"if-none-match": first.headers["etag"]})
    assert (again.status, again.text) == (304, "")
    assert samples.gateway.get("/openapi.json", **{"if-none-match": '"other"'}).status == 200


def test_a_folder_has_its_page_behind_a_slash(samples: Samples) -> None:
    """Without the slash the reader is led there, so that the page finds its files."""
    answer = samples.gateway.get("/reference")
    assert (answer.status, answer.headers["location"]) == (308, "/reference/")


def test_head_has_the_headers_alone(samples: Samples) -> None:
    """HEAD is answered with the headers of GET and no body."""
    answer = samples.gateway.request("HEAD", "/reference/swagger-ui.css")
    assert (answer.status, answer.text) == (200, "")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/openapi.json"), ("GET", "/reference/none.js")]
)
def test_other_requests_are_refused_in_json(method: str, path: str, samples: Samples) -> None:
    """A file that is not there, or a method that reads nothing, gets the gateway's refusal."""
    assert samples.gateway.request(method, path).refusal == (404, 5, "ROUTE_NOT_FOUND")


def test_a_folder_has_a_listener_of_its_own(samples: Samples, tmp_path: Path) -> None:
    """Its pages may call the named origin, and its port serves nothing of the API."""
    files = tmp_path / "dist"
    (files / "assets").mkdir(parents=True)
    (files / "index.html").write_text("<p>grün</p>", encoding="utf-8")
    (files / "assets" / "a.js").write_text("1", encoding="utf-8")
    (files / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "gateway").mkdir()
    address = free_address()
    with running_gateway(
        tmp_path / "gateway",
        samples.gateway.address,
        ready=False,
        static=[(Address.parse("--static", address), files)],
        static_connect=["https://api.example"],
    ) as running:
        site = Gateway(address, running.process, running.log)
        page = site.get("/")
        assert (page.status, page.text) == (200, "<p>grün</p>")
        assert "connect-src 'self' https://api.example;" in page.headers["content-security-policy"]
        assert site.get("/assets/a.js").headers["content-type"] == "text/javascript; charset=utf-8"
        assert (site.get("/empty.txt").status, site.get("/empty.txt").text) == (200, "")
        assert site.get("/v1/tables").refusal == (404, 5, "ROUTE_NOT_FOUND")
        assert running.get("/assets/a.js").status == 404


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    """A build that is missing is named before Envoy starts."""
    with pytest.raises(OptionError, match="has no files"):
        list(static_routes(tmp_path))


def test_a_file_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    """Browsers would guess the type."""
    (tmp_path / "page.php").write_text("x", encoding="utf-8")
    with pytest.raises(OptionError, match=r"page\.php: has no type"):
        list(static_routes(tmp_path))


def test_a_file_that_envoy_would_refuse_is_refused(tmp_path: Path) -> None:
    """The text names the bytes and the bound."""
    with (tmp_path / "large.js").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(OptionError, match=f"more than {MAX_FILE_BYTES}"):
        list(static_routes(tmp_path))


def test_a_wrong_origin_is_refused() -> None:
    """An origin that would break the policy into two directives is not accepted."""
    with pytest.raises(OptionError, match="--static-connect"):
        Options(
            listen=Address("127.0.0.1", 1),
            upstreams=[Address("127.0.0.1", 2)],
            static_connect=["https://a.example; script-src *"],
        )
